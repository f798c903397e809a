"""The loops: the only place where stages meet. Each reads top to bottom."""
