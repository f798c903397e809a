"""r3jax's side of the scripted work: as many tokens as the peer's, at the scripted boxes."""

import numpy as np

from benchmarks import mini, script
from benchmarks.ours import loop, update
from r3jax.data import tokenizer
from r3jax.records import LookOutcome, Prompt, Source
from r3jax.rollout import stops


def test_every_turn_closes_a_box_after_its_tokens_whatever_they_are():
    tok = tokenizer.Tokenizer.from_dir(mini.BESIDE)
    table = loop.rules(tok, 1000).next_state
    rng, state = np.random.default_rng(0), stops.START
    for _ in range(script.TURN):
        assert state not in (stops.BOX_CLOSED, stops.ANSWER_CLOSED)
        state = table[state, rng.integers(1000)]
    assert state == stops.BOX_CLOSED


def test_looks_show_the_scripted_boxes_in_the_order_of_episodes():
    pictures = mini.pictures(2)
    looks = loop.ScriptedLooks(pictures)
    for earlier in ([], [None]):
        for episode in range(script.EPISODES):
            for question, picture in enumerate(pictures):
                found = looks("", picture, None, earlier, None)
                assert found.box_original == script.box(question, episode, len(earlier))
                expected = script.crop(picture, question, episode, len(earlier))
                np.testing.assert_array_equal(found.crop, expected)
    assert looks("", pictures[0], None, [None, None], None).outcome is LookOutcome.TOO_MANY


def test_prompts_and_episodes_are_as_long_as_the_script_says():
    tok = tokenizer.Tokenizer.from_dir(mini.BESIDE)
    pictures = mini.pictures(1)
    (question,) = loop.questions(tok, pictures)
    assert loop._prompt_tokens(question.text, tok, pictures[0]) == mini.PROMPT_TOKENS
    config = mini.config(tok.ids)
    prompt = Prompt(mini.prompts(config)[0], np.zeros((3, mini.PROMPT_TOKENS), np.int32), (), 80)
    made = update.episode(config, prompt, script.sampled()[0, 0], [None, None])
    assert len(made.tokens) == script.EPISODE_TOKENS
    assert (made.source == Source.SAMPLED).sum() == script.SAMPLED
    assert (made.source == Source.IMAGE).sum() == script.LOOKS * script.CROP_TOKENS


def test_a_step_of_the_engine_plays_the_script():
    """On the small model that is shipped; the step itself counts what each episode sampled."""
    _, work = loop.rollout(str(mini.BESIDE), "float32")
    work["step"]()
