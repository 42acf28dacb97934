"""The command line: the application, and a file a command."""

from .app import main

__all__ = ["main"]
