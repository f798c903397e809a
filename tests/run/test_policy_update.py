"""What R-GRPO says of a step that went wrong."""

import types

import jax.numpy as jnp
import numpy as np

from r3jax.records import Source
from r3jax.run import policy_update


def group(name: str):
    """A group of two episodes of three tokens, of which the last shows an image."""
    source = np.array([Source.SAMPLED, Source.SAMPLED, Source.IMAGE], np.int8)
    episodes = (types.SimpleNamespace(source=source),) * 2
    question = types.SimpleNamespace(id=name)
    return types.SimpleNamespace(group=types.SimpleNamespace(question=question, episodes=episodes))


def test_questions_of_which_a_sampled_token_has_no_number_are_named():
    dealt = [[group("a"), group("b")], [group("c"), group("d")]]
    logp = jnp.zeros((2, 2, 2, 4)).at[..., 2:].set(-jnp.inf)  # what is not sampled may be anything
    assert policy_update.suspect(dealt, list(logp)) == ()
    logp = logp.at[0, 1, 1, 0].set(jnp.nan).at[1, 0, 0, 1].set(-jnp.inf)
    assert policy_update.suspect(dealt, list(logp)) == ("b", "c")
