"""Pipelines: every row once an epoch, the same batches after a restart, lengths that bound."""

import collections
import itertools
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import look_again
from r3jax.data import chat, chat_file, frames, looks, pipelines, traces, vlir
from r3jax.data.tokenizer import Tokenizer
from r3jax.data.world import files, generate, noise
from r3jax.records import Question
from tests.data.released import QWEN

ROOT = pathlib.Path(__file__).parents[2]
BASE = ROOT / "assets" / "look_again_base"
BUCKETS = ((0, 1, 2, 3, 4, 5, 6), (), (7, 8), (9, 10, 11, 12))


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_takes_every_row_once(epoch):
    plan = pipelines.BatchPlan(BUCKETS, 1, seed=3)
    assert plan.batches_per_epoch == 13
    rows = [row for i in range(13) for row in plan[13 * epoch + i]]
    assert sorted(rows) == list(range(13)) and rows != sorted(rows)


def test_what_does_not_fill_a_batch_is_filled_up_from_its_own_bucket():
    plan = pipelines.BatchPlan(BUCKETS, 4, seed=0)
    batches = [plan[i] for i in range(plan.batches_per_epoch)]
    assert [len(batch) for batch in batches] == [4] * 4
    assert all(any(set(batch) <= set(rows) for rows in BUCKETS) for batch in batches)
    taken = collections.Counter(itertools.chain(*batches))
    # Seven rows fill eight places, two fill four, four fill four.
    assert [sum(taken[row] for row in rows) for rows in BUCKETS] == [8, 0, 4, 4]
    assert set(taken) == set(range(13)) and max(taken.values()) == 2


def test_epochs_and_seeds_have_orders_of_their_own():
    plan, other = (pipelines.BatchPlan((tuple(range(40)),), 4, seed) for seed in (0, 1))
    first = [plan[i] for i in range(10)]
    assert first == [plan[i] for i in range(10)]
    assert first != [plan[i] for i in range(10, 20)] and first != [other[i] for i in range(10)]


def test_a_stream_goes_on_with_the_same_batches_after_set_state():
    plan = pipelines.BatchPlan(BUCKETS, 3, seed=7)
    stream = pipelines.stream(plan, lambda row: 10 * row)
    batches = [next(stream) for _ in range(4)]
    assert batches == [[10 * row for row in plan[i]] for i in range(4)]
    state = stream.get_state()
    rest = [next(stream) for _ in range(6)]
    for threads in (1, 4):
        restarted = pipelines.stream(plan, lambda row: 10 * row, threads=threads)
        restarted.set_state(state)
        assert [next(restarted) for _ in range(6)] == rest
    stream.set_state(state)
    assert [next(stream) for _ in range(6)] == rest


def test_hosts_that_share_batches_load_their_own_places_of_the_same_ones():
    plan = pipelines.BatchPlan(BUCKETS, 4, seed=7)
    loaded = []
    streams = [
        pipelines.stream(plan, lambda row: loaded.append(row) or row, is_own=own.__contains__)
        for own in (range(2), range(2, 4))
    ]
    first, second = ([next(stream) for _ in range(5)] for stream in streams)
    assert all(
        one[2:] == [None] * 2 and other[:2] == [None] * 2 for one, other in zip(first, second)
    )
    assert [one[:2] + other[2:] for one, other in zip(first, second)] == [plan[i] for i in range(5)]
    assert streams[0].get_state() == streams[1].get_state()


def test_a_plan_without_rows_is_refused():
    with pytest.raises(ValueError, match="there are no rows to make batches of"):
        pipelines.BatchPlan(((), ()), 4, seed=0)


def test_rows_go_to_the_smallest_bucket_that_holds_them():
    assert pipelines.by_length([5, 8, 9, 16, 1], (16, 8)) == ((0, 1, 4), (2, 3))


def test_a_row_that_is_too_long_is_named():
    message = "row 1 may have 17 tokens, the largest suffix bucket is 16: add a larger bucket"
    with pytest.raises(ValueError, match=message):
        pipelines.by_length([5, 17, 9], (16, 8))


def make_row(segments, num_crops: int, boxes_in: frames.PixelBounds) -> vlir.SftRow:
    path, trained = pathlib.Path("a.png"), (True,) * len(segments)
    return vlir.SftRow(
        "a row", "id", path, "What?", {}, boxes_in, tuple(segments), trained, num_crops
    )


SMALL = frames.PixelBounds.of_tokens(1, 4)
WHOLE = st.integers(0, 60)
NUMBER = st.one_of(WHOLE, st.floats(-40, 300), st.sampled_from([-3, 1e-7, 9.5, 1e300, 10**6]))
LISTED = st.one_of(
    st.lists(WHOLE, min_size=4, max_size=4).map(json.dumps),
    st.lists(NUMBER, min_size=3, max_size=5).map(json.dumps),
)
BOX = st.one_of(LISTED, LISTED.map(lambda text: text.replace(" ", "").replace("]", " ]")))
TEXT = st.one_of(
    st.text(max_size=12),
    BOX.map('{{"bbox_2d": {}}}'.format),
    BOX.map('{{"label": "door", "bbox_2d" :{}}} '.format),
)
WRITTEN = st.lists(TEXT, max_size=4).map("".join)
SHARE = st.floats(0, 0.6)


@settings(max_examples=200)
@given(
    height=st.integers(12, 400),
    width=st.integers(12, 400),
    most=st.sampled_from([4, 64, 256]),
    texts=st.tuples(WRITTEN, WRITTEN, WRITTEN),
    corner=st.tuples(SHARE, SHARE),
    space=st.sampled_from(["", " ", "\n\n", " \n"]),
    num_crops=st.integers(0, 2),
)
def test_no_episode_is_longer_than_its_bound(height, width, most, texts, corner, space, num_crops):
    form = chat.ChatFormat(
        None,
        "",
        frames.PixelBounds.of_tokens(1, most),
        looks.LookRules(frames.PixelBounds.of_tokens(1, 9), min_side=0.1, duplicate_iou=1.0),
    )
    old = frames.Frame.fit(height, width, SMALL)
    new = frames.Frame.fit(height, width, form.image_bounds)
    x, y = corner[0] * old.resized_width, corner[1] * old.resized_height
    x2, y2 = x + 0.4 * old.resized_width, y + 0.4 * old.resized_height
    box = f'{{"bbox_2d": [{x:.0f}, {y:.1f}, {x2:.0f}, {y2:.1f}]}}{space}'
    segments = [text + box * (place < num_crops) for place, text in enumerate(texts)]
    image = np.zeros((height, width, 3), np.uint8)
    trace = traces.Trace(
        Question("id", "What?", (image,), ""),
        tuple(traces.rewrite_boxes(text, old, new) for text in segments),
        (True,) * 3,
        num_crops,
        new,
        "a row",
    )
    prompt, frame = chat.build_prompt(trace.question, QWEN, form)
    try:
        episode = traces.build_teacher_episode(trace, prompt, frame, QWEN, form)
    except vlir.RowError:  # a crop that cannot be cut
        return
    bound = pipelines.episode_length(make_row(segments, num_crops, SMALL), QWEN, form)
    assert len(episode.tokens) <= bound


def test_a_number_that_gains_digits_is_counted():
    form = chat.ChatFormat(None, "", frames.PixelBounds.of_tokens(1, 2048))
    old, new = (frames.Frame.fit(2000, 2000, b) for b in (SMALL, form.image_bounds))
    text = '{"bbox_2d": [1, 5, 9, 9]} '
    rewritten = traces.rewrite_boxes(text, old, new)
    assert len(QWEN.encode(rewritten)) > len(QWEN.encode(text)) + 4
    bound = pipelines.episode_length(make_row([text * 3], 0, SMALL), QWEN, form)
    assert bound > len(QWEN.encode(rewritten * 3))


def test_the_rows_of_the_demonstration_fit_its_buckets():
    demo = look_again.get_config()
    world = generate.WorldConfig(**demo.world.to_dict() | {"questions_per_image": 12})
    tokenizer, form = Tokenizer.from_dir(BASE), chat_file.load_chat(BASE)
    longest = {"one": 0, "two": 0}
    for sample in files.draw_samples("sft", 0, {"sft": 480}, world):
        segments = files.teach_sample(sample, noise.NoiseConfig(**demo.noise)).segments
        row = make_row(segments, len(segments) - 1, vlir.VLIR_BOUNDS)
        length = pipelines.episode_length(row, tokenizer, form)
        longest[sample.tags["looks"]] = max(longest[sample.tags["looks"]], length)
    assert 0 < longest["one"] <= look_again.ONE_LOOK
    assert longest["one"] < longest["two"] <= look_again.TWO_LOOKS
