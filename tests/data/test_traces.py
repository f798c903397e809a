"""Traces: boxes in today's frame, and teacher episodes laid out as rollouts lay theirs out."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from r3jax import patches, positions
from r3jax.data import chat, frames, looks, traces, vlir
from r3jax.data.vlir import RowError
from r3jax.records import Source, Stop
from tests.data.released import QWEN

FORM = chat.ChatFormat(
    None,
    "",
    frames.PixelBounds.of_tokens(4, 32),
    looks.LookRules(frames.PixelBounds.of_tokens(4, 16)),
)
WRITTEN = frames.Frame.fit(300, 400, vlir.VLIR_BOUNDS)
SEGMENTS = [
    '<think>The sign: {"bbox_2d": [20, 10, 140, 90]} ',
    ' and the door: {"bbox_2d": [200, 100, 300, 280], "label": "door"}',
    " it says 7</think><answer> 7 </answer>",
]
ROW = {
    "image_path": "a.png",
    "question": 'What stands in {"bbox_2d": [20, 10, 140, 90]}?',
    "response_list": SEGMENTS,
    "img_crop_list": ["0.png", "1.png"],
    "train_list": [True, False, True],
}


def load(folder, **change) -> traces.Trace:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "sft.json").write_text(json.dumps([ROW | change]))
    ((row,), _) = vlir.read_sft(folder / "sft.json", folder)
    return traces.load_trace(row, FORM.image_bounds)


def write_episode(trace: traces.Trace):
    prompt, frame = chat.build_prompt(trace.question, QWEN, FORM)
    return prompt, traces.build_teacher_episode(trace, prompt, frame, QWEN, FORM)


def test_loading_rewrites_boxes_in_question_and_segments(tmp_path):
    trace = load(tmp_path)
    assert (trace.frame.resized_height, trace.frame.resized_width) == (112, 168)
    assert WRITTEN.resized_width == 392 and WRITTEN.resized_height == 308
    expected = [round(20 * 168 / 392), round(10 * 112 / 308), 60, round(90 * 112 / 308)]
    for text in (trace.question.text, trace.segments[0]):
        assert looks.parse_box(text).box == tuple(expected)
    assert trace.segments[1].endswith(', "label": "door"}')
    assert trace.question.answer == "7" and trace.question.images[0].shape == (300, 400, 3)


def test_an_episode_is_text_box_crop_text_end(tmp_path):
    trace = load(tmp_path)
    _, episode = write_episode(trace)
    crops = [patches.merged_grid(crop.shape) for crop in episode.crops]
    assert len(crops) == 2 and episode.stop is Stop.ANSWER and episode.answer == "7"
    texts = [QWEN.encode(trace.segments[0].rstrip()), QWEN.encode(trace.segments[1])]
    pieces = [texts[0], chat.look_tokens(crops[0][0] * crops[0][1], QWEN)[0], texts[1]]
    pieces += [chat.look_tokens(crops[1][0] * crops[1][1], QWEN)[0]]
    pieces += [QWEN.encode(trace.segments[2]), [QWEN.ids.im_end]]
    assert episode.tokens.tolist() == np.concatenate(pieces).tolist()
    is_image = episode.tokens == QWEN.ids.image_pad
    np.testing.assert_array_equal(is_image, episode.source == Source.IMAGE)
    masked = len(pieces[0]) + len(pieces[1])
    assert (episode.source[: len(pieces[0])] == Source.SAMPLED).all()
    assert (episode.source[masked : masked + len(texts[1])] == Source.FORCED).all()
    assert episode.source[-1] == Source.SAMPLED
    assert episode.text == "".join([trace.segments[0].rstrip(), *trace.segments[1:]])
    assert (episode.logp == 0).all() and len(episode.logp) == len(episode.tokens)


def test_positions_of_an_episode_go_on_from_the_prompt(tmp_path):
    prompt, episode = write_episode(load(tmp_path))
    tokens = np.concatenate([prompt.tokens, episode.tokens])
    grids = [patches.merged_grid(image.shape) for image in (*prompt.images, *episode.crops)]
    together, _ = positions.rope_index(tokens, grids, QWEN.ids.image_pad)
    np.testing.assert_array_equal(
        np.concatenate([prompt.positions, episode.positions], axis=1), together
    )


def test_crops_are_cut_where_the_teachers_own_box_lies(tmp_path):
    trace = load(tmp_path)
    _, episode = write_episode(trace)
    alone = looks.take_look(
        trace.segments[1], trace.question.images[0], trace.frame, (), FORM.look_rules
    )
    np.testing.assert_array_equal(episode.crops[1], alone.crop)


def test_a_text_without_look_or_answer_ends_with_the_turn(tmp_path):
    _, episode = write_episode(
        load(tmp_path, response_list=["a door"], img_crop_list=[], train_list=[True])
    )
    assert episode.tokens.tolist() == [*QWEN.encode("a door"), QWEN.ids.im_end]
    assert episode.stop is Stop.END and episode.answer is None and episode.looks == ()


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ("no box", r"row 0: a crop follows 'response_list'\[0\], so that text must end with a box"),
        ('{"bbox_2d": [20, 10, 140, 90]} more', "it ends with .* more'"),
        ('{"bbox_2d": [20, 10]}', r"gives no crop \(wrong_arity\); correct it or remove"),
        ('{"bbox_2d": [140, 10, 20, 90]}', r"gives no crop \(swapped\)"),
    ],
)
def test_a_crop_that_no_box_asked_for_is_an_error_naming_the_row(segment, message, tmp_path):
    trace = load(tmp_path, response_list=[segment, *SEGMENTS[1:]])
    with pytest.raises(RowError, match=message):
        write_episode(trace)


def test_a_trace_in_another_frame_than_its_prompt_is_refused(tmp_path):
    trace = dataclasses.replace(load(tmp_path), frame=WRITTEN)
    with pytest.raises(ValueError, match="load the trace with the chat format's image_bounds"):
        write_episode(trace)


def test_a_missing_image_names_file_and_row(tmp_path):
    path = tmp_path / "rl.json"
    path.write_text(
        json.dumps([{"image_path": "gone.png", "question": "?", "answer": "a", "source": "s"}])
    )
    ((row,), _) = vlir.read_rl(path, tmp_path)
    with pytest.raises(RowError, match=r"rl\.json, row 0: image .*gone\.png: expected a file"):
        traces.load_question(row, FORM.image_bounds)
    Image.new("RGB", (40, 30)).save(tmp_path / "gone.png")
    question = traces.load_question(row, FORM.image_bounds)
    assert (question.answer, question.source, question.id) == ("a", "s", "rl-0")


SIDE = st.integers(28, 3000)


@given(SIDE, SIDE, st.integers(8, 512), st.tuples(*[st.floats(0, 1)] * 4))
def test_rewritten_boxes_are_whole_numbers_near_the_old_ones(height, width, tokens, shares):
    if max(height, width) > 20 * min(height, width):
        return
    old = frames.Frame.fit(height, width, vlir.VLIR_BOUNDS)
    new = frames.Frame.fit(height, width, frames.PixelBounds.of_tokens(4, tokens))
    (x1, x2), (y1, y2) = sorted(shares[:2]), sorted(shares[2:])
    box = [x1 * old.resized_width, y1 * old.resized_height]
    box += [x2 * old.resized_width, y2 * old.resized_height]
    text = traces.rewrite_boxes(f'a {{"bbox_2d": {box}}} b', old, new)
    written = json.loads(text[2:-2])["bbox_2d"]
    if old == new:
        assert written == box
        return
    assert all(isinstance(number, int) for number in written)
    exact = new.to_resized(old.to_original(tuple(box)))
    np.testing.assert_allclose(written, exact, atol=1.0 + 1e-6)
    assert 0 <= written[0] <= written[2] <= new.resized_width
    assert (written[0] < written[2]) == (exact[0] < exact[2])


def test_text_that_is_no_box_is_left_alone():
    small = frames.Frame.fit(300, 400, FORM.image_bounds)
    for text in (
        "[1, 2, 3, 4]",
        '{"bbox_2d": [1, 2]}',
        '{"bbox_2d": [1, 2, NaN, 4]}',
        '{"bbox_2d": [1, 2, "3", 4]}',
        '{"bbox_2d": [1, 2, 3',
        '{"box": [1, 2, 3, 4]}',
    ):
        assert traces.rewrite_boxes(text, WRITTEN, small) == text
