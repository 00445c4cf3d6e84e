"""The command line: thin commands over the service, each with `--format table|json`."""

from weftline.cli.app import main

__all__ = ["main"]
