"""The commands: `console.py` has their options, each module beside it what one of them does."""

from proxy.cli.console import main

__all__ = ["main"]
