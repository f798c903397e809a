"""r3jax trains a vision-language model to look again: VLM-R3 in JAX."""
