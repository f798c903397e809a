"""Our side of each comparison: the programs of r3jax as its runs use them."""
