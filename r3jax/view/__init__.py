"""Traces as pictures and pages, learning curves, and the report of a run. No JAX, no network."""
