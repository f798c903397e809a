"""What the parts of a run's workdir are called that more than one module knows."""

CHECKPOINTS = "checkpoints"
SURROUNDINGS = "hf"  # all that an export needs beside the weights
