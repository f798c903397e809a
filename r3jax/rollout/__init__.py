"""Episodes from questions: prefill once a group, decode, look, append, go on."""
