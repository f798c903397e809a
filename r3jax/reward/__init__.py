"""Rewards: answer rules, reward terms, their statistics and alarms. NumPy and strings only."""
