"""Qwen2.5-VL in Flax Linen: one function of a parameter tree, for training and decoding alike."""
