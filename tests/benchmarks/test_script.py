"""The script of rollouts and updates: its numbers, its boxes, and the same again every time."""

import doctest
import types

import numpy as np

from benchmarks import mini, script

CONFIG = types.SimpleNamespace(
    image_token_id=300, vision_start_token_id=301, vision_end_token_id=302
)
LOOKS = [
    (question, episode, look)
    for question in range(mini.QUESTIONS)
    for episode in range(script.EPISODES)
    for look in range(script.LOOKS)
]


def test_an_episode_is_96_sampled_and_132_inserted_tokens_after_a_prompt_of_322():
    assert (mini.PROMPT_TOKENS, script.SAMPLED, script.EPISODE_TOKENS) == (322, 96, 96 + 132)
    assert script.is_sampled().sum() == 96 and len(script.is_sampled()) == 550


def test_a_sequence_grows_by_a_turn_and_its_look_and_ends_with_a_turn():
    prompt, turns = mini.prompts(CONFIG)[1], script.sampled()[1, 2]
    made = [script.sequence(CONFIG, prompt, turns[:done]) for done in range(script.TURNS + 1)]
    assert [len(one) for one in made] == [322, 420, 518, 550]
    whole = made[-1]
    np.testing.assert_array_equal(whole[script.is_sampled()], turns.reshape(-1))
    for shorter in made:
        np.testing.assert_array_equal(whole[: len(shorter)], shorter)
    assert (whole == CONFIG.image_token_id).sum() == mini.IMAGE_TOKENS + 2 * script.CROP_TOKENS
    assert whole[354] == CONFIG.vision_start_token_id and whole[419] == CONFIG.vision_end_token_id


def test_every_look_has_its_own_box_inside_the_image():
    boxes = np.array([script.box(*look) for look in LOOKS])
    assert len(np.unique(boxes, axis=0)) == len(LOOKS) == 80
    assert boxes.min() >= 0 and boxes.max() <= mini.IMAGE_SIDE
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= script.SIDES[0] and sides.max() <= script.SIDES[1]
    square = sides[:, 0] == sides[:, 1]
    assert square[[question % 2 == 0 for question, _, _ in LOOKS]].all() and not square.all()
    assert (sides < script.CROP_SIDE).any() and (sides > script.CROP_SIDE).any()


def test_the_example_in_the_text_holds():
    found = doctest.testmod(script)
    assert found.attempted and not found.failed


def test_crops_are_of_one_size_and_differ():
    (image,) = mini.pictures(1)
    first, second = (script.crop(image, 0, 0, look) for look in range(script.LOOKS))
    assert first.shape == second.shape == (script.CROP_SIDE, script.CROP_SIDE, 3)
    assert first.dtype == np.uint8 and (first != second).any()


def test_the_script_is_the_same_every_time_and_no_group_is_without_advantage():
    for made in (script.sampled, script.rewards, script.advantages):
        np.testing.assert_array_equal(made(), made())
    sampled, advantage = script.sampled(), script.advantages()
    assert sampled.shape == (8, 5, 3, 32) and 0 < sampled.min() <= sampled.max() < 256
    assert advantage.shape == (8, 5) and (advantage.std(-1) > 0.9).all()
    np.testing.assert_allclose(advantage.sum(-1), 0.0, atol=1e-6)
