"""Starts the hosted job; run by Flink's own Python, with the order on standard input."""

from oddlot.engine.flink.hosted import main

if __name__ == "__main__":  # a class of this module could not be sent to a worker
    main()
