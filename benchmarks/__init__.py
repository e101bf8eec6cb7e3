"""Benchmarks: every figure a ratio against a peer, in paired rounds of one run."""
