"""Meaning shared by every package: feeds, connections, positions, datasets, units. No I/O."""
