"""Versions of what the store keeps on disk, and the steps from one to the next."""
