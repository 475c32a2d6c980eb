"""Benchmarks: the service as it is run, beside references of the same libraries, in one run."""
