"""Learning from episodes: objectives, the forward pass over groups, state and steps."""
