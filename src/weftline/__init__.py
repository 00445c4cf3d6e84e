"""Weftline: the open data fabric for manufacturing supply chains."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
