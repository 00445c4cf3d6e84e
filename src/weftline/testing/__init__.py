"""Simulate every protocol, source and fault that tests, demo and benchmarks need."""
