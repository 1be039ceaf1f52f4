"""The commands: each parses what the user wrote, calls one function and prints."""

from oddlot.cli import scaling, serving, shipping, trying, watching
from oddlot.cli.group import Commands, main

__all__ = ("Commands", "main", "scaling", "serving", "shipping", "trying", "watching")
