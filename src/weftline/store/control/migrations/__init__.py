"""Alembic's environment; applied from inside the program, never by hand."""
