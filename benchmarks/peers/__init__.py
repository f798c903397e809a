"""The peers: what Transformers does, and the published loop on it. torch is imported here alone."""
