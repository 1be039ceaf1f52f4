"""Runs the commands as `python -m oddlot`."""

from oddlot.cli import main

if __name__ == "__main__":
    main()
