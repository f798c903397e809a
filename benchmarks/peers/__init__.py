"""The peers: what Transformers does, and the published loop on it."""
