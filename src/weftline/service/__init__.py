"""Use cases: one module per family. `wiring.py` alone composes; every read of data passes `reading.py`."""
