"""One module per change of the control database, never edited after release."""
