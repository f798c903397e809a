"""Benchmarks and what is counted on them.

from r3jax import evaluate

evaluate.score("V*", "The answer is (B).", {"answer": "B", "choices": ["red", "blue"]})
evaluate.aggregate("V*", rows)
"""

from r3jax.evaluate.benchmarks import aggregate, score

__all__ = ["aggregate", "score"]
