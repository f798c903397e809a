"""Benchmarks and what is counted on them."""
