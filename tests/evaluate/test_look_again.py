"""What is counted on the look-again benchmark, and what guessing would get."""

import itertools

import numpy as np
import pytest

from r3jax.evaluate import look_again
from r3jax.records import Question


def ask(looks: str | None, kind="colour", places=4, source="sign") -> Question:
    tags = {"kind": kind, "places": str(places)} | ({"looks": looks} if looks else {})
    return Question("q", "What?", (), "7", source, tags)


def guess(kind: str, places: int) -> float:
    """The share right of a reader of two random places, over every order, question and guess."""
    # Powers of two: no two pairs have the same sum.
    rule = {"add": sum, "compare": max}[kind]
    pairs = list(itertools.combinations(range(places), 2))
    right = [
        rule(numbers[i] for i in asked) == rule(numbers[i] for i in read)
        for numbers in itertools.permutations([2**i for i in range(places)])
        for asked in pairs
        for read in pairs
    ]
    return float(np.mean(right))


@pytest.mark.parametrize("kind", ["add", "compare"])
@pytest.mark.parametrize("places", [2, 3, 4, 5])
def test_chance_of_two_looks_is_that_of_a_reader_of_random_places(kind, places):
    expected = guess(kind, places)
    found = look_again.chance([ask("two", kind, places)])
    assert found["two_look"] == found["all"] == pytest.approx(expected)
    assert found["one_look"] == 0 and found["count"] == 1


def test_chance_is_the_mean_over_the_questions():
    questions = [ask("one", places=4), ask("one", places=8), ask("two", "add", 4)]
    found = look_again.chance(questions)
    assert found["one_look"] == pytest.approx(3 / 16)
    assert found["all"] == pytest.approx((1 / 4 + 1 / 8 + 1 / 6) / 3)


def test_a_kind_of_two_looks_without_a_rule_is_named():
    with pytest.raises(ValueError, match=r"tags\.kind to be add or compare.*found 'colour'"):
        look_again.chance([ask("two")])


def test_questions_without_the_tag_count_under_all_and_their_family():
    questions = [ask("one"), ask(None, source="docvqa"), ask("two"), ask(None, source="docvqa")]
    found = look_again.summarise(questions, [True, True, False, False])
    assert (found["one_look"], found["two_look"], found["all"]) == (1.0, 0.0, 0.5)
    assert found["families"] == {"docvqa": 0.5, "sign": 0.5} and found["count"] == 4


def test_a_file_without_any_tag_has_no_shares_by_looks():
    found = look_again.summarise([ask(None)], [True])
    assert found["all"] == 1.0 and set(found["intervals"]) == {"all"}
