"""From files to questions, prompts and teacher episodes: NumPy only, no JAX."""
