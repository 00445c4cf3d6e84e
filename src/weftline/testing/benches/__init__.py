"""One adapter per connector between the conformance suite and the simulator of its source."""
