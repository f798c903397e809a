"""A model behind HTTP, as OpenAI's clients speak it: requests, replies, a page. No JAX."""
