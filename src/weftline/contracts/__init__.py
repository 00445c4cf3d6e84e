"""ODCS contracts: load with positions, check, hash, and compile to set-at-a-time plans in Weftline SQL."""
