"""Saving and restoring: Orbax checkpoints of a run, and Hugging Face directories in and out."""
