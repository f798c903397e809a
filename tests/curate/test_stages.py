"""A stage's file is the same after any kill; what is undecided is decided anew, in its place."""

import dataclasses
import json

import hypothesis
import hypothesis.strategies as st
import pytest

from r3jax import lines
from r3jax.curate import samples, stages
from r3jax.curate.samples import Decision, Hint, Sample, Usage, Verdict

SAMPLES = [
    Sample(f"file, row {n}", f"s{n}", "gqa", str(n), "\ud83d?", ("a", "b"), "i.png", "00",
           (Hint("h", (1.0, 2.0, 3.5, 4.0)),))
    for n in range(6)
]  # fmt: skip


def decide(asked, down=()):
    """Drops every third; `down` are those about which nobody says anything."""
    for sample in asked:
        number = int(sample.source_id)
        if number in down:
            yield samples.undecided(sample, RuntimeError("down"))
        elif number % 3 == 2:
            yield samples.dropped(sample, "third", "told", Usage().plus((3, 4)))
        else:
            yield Decision(dataclasses.replace(sample, segments=("x",)), usage=Usage().plus(None))


def run(path, asked=SAMPLES, down=()) -> stages.Count:
    count = stages.Count("test")
    unreached = stages.run(path, asked, lambda rest: decide(rest, down), count.add)
    count.verdicts[Verdict.UNDECIDED] += unreached
    return count


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("stage") / "whole.jsonl"
    run(path)
    return path


@hypothesis.settings(max_examples=40)
@hypothesis.given(st.floats(0, 1), st.sets(st.integers(0, 5)), st.integers(0, 6))
def test_whatever_was_written_before_the_result_is_that_of_an_undisturbed_run(
    whole, share, down, reached
):
    path = whole.with_name("cut.jsonl")
    path.unlink(missing_ok=True)
    run(path, SAMPLES[:reached], down)
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    count = run(path)
    assert path.read_bytes() == whole.read_bytes()
    assert (count.entered, count.verdicts[Verdict.UNDECIDED]) == (6, 0)
    assert count.usage == Usage(6, 6, 8, 4) and count.reasons == {"third": 2}


def test_a_sample_that_comes_in_later_takes_its_place(whole, tmp_path):
    path = tmp_path / "later.jsonl"
    run(path, [one for one in SAMPLES if one.source_id != "1"])
    assert run(path).verdicts == {Verdict.KEPT: 4, Verdict.DROPPED: 2, Verdict.UNDECIDED: 0}
    assert path.read_bytes() == whole.read_bytes()
    run(path, SAMPLES[:3])
    assert len(path.read_text().splitlines()) == 3, "what is asked no more is gone"
    assert [one.id for one in stages.kept(path)] == ["s0", "s1"]


def test_what_a_stage_does_not_reach_is_undecided(tmp_path):
    count = stages.Count("test")
    some = lambda asked: decide(next(asked) for _ in range(2))  # noqa: E731
    assert stages.run(tmp_path / "a.jsonl", SAMPLES, some, count.add) == 4
    assert count.entered == 2


def test_decisions_are_the_same_after_reading_and_another_file_is_refused(tmp_path):
    for decision in decide(SAMPLES, down={4}):
        assert Decision.from_json(json.loads(lines.line(decision.as_json()))) == decision
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(ValueError, match="no decision about a sample"):
        run(path)
    path.write_text("x\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1 is no JSON object"):
        run(path)
