"""Side-by-side measurements of r3jax and its peers: `python -m benchmarks.NAME`, one table each.

Each side is a process of its own; the two take turns at the same work with the same weights.
"""
