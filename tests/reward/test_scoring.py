"""Reward terms of both presets, the mask, the judge, and users' own terms."""

import numpy as np
import pytest

from r3jax.data import looks
from r3jax.records import LookOutcome, Stop, Verdict
from r3jax.reward import scoring
from r3jax.reward.terms import RewardConfig
from tests.reward.examples import BOX, make_episode, make_group, make_look, make_question, thought

OK = LookOutcome.OK
LOOK = f"look closely at it {BOX}\n now it is red"


def score_one(episode, preset, question=None):
    (scored,) = scoring.score([make_group([episode], question)], RewardConfig(preset))
    return {name: float(value[0]) for name, value in scored.terms.items()}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("paper", {"accuracy": 1.0, "format": 1.0, "region": 0.5, "length": 0.032}),
        ("code", {"accuracy": 1.0, "format": 0.5, "region": 0.5, "length": 0.10}),
    ],
)
def test_a_right_answer_after_a_look_earns_the_terms_of_the_preset(preset, expected):
    episode = make_episode(thought(LOOK), [make_look()])
    assert score_one(episode, preset) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("inside", "length"),
    [
        (f"look {BOX} ", 0.0),
        (f"aaaaaaaaa{BOX}aaaaaaaaa", 0.09),
        (f"ab{BOX}{BOX}cd", 0.0),
        ("no box but text", 0.10),
    ],
)
def test_length_of_the_code_preset_pays_the_shortest_text_between_boxes(inside, length):
    assert score_one(make_episode(thought(inside)), "code")["length"] == pytest.approx(length)


@pytest.mark.parametrize("outcome", [o for o in LookOutcome if o is not OK])
def test_a_message_about_a_failed_look_earns_no_length(outcome):
    episode = make_episode(thought(f"look {BOX}{looks.message(outcome)}"), [make_look(outcome)])
    assert score_one(episode, "paper")["length"] == pytest.approx(0.004)
    assert score_one(episode, "code")["length"] == 0.0


def test_length_of_the_paper_preset_is_capped():
    assert score_one(make_episode(thought("x" * 1000)), "paper")["length"] == pytest.approx(0.25)


@pytest.mark.parametrize("outcome", [o for o in LookOutcome if o is not OK])
@pytest.mark.parametrize("preset", ["paper", "code"])
def test_a_box_that_was_never_executed_earns_no_region_reward(outcome, preset):
    episode = make_episode(thought('{"bbox_2d": "hack"} red'), [make_look(outcome)])
    assert score_one(episode, preset)["region"] == 0.0


def test_one_failed_look_costs_the_region_reward_in_code_but_not_in_paper():
    episode = make_episode(thought(LOOK), [make_look(), make_look(LookOutcome.SWAPPED)])
    assert score_one(episode, "code")["region"] == 0.0
    assert score_one(episode, "paper")["region"] == 0.5


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_a_wrong_answer_earns_no_region_reward(preset):
    episode = make_episode(thought(LOOK, "B"), [make_look()], answer="B")
    terms = score_one(episode, preset)
    assert terms["accuracy"] == terms["region"] == 0.0


@pytest.mark.parametrize("preset", ["paper", "code"])
@pytest.mark.parametrize(
    ("text", "stop"),
    [
        (thought("red"), Stop.LENGTH),
        (thought("red"), Stop.TURNS),
        (thought("red"), Stop.END),
        (thought("red") + " and more", Stop.ANSWER),
        (thought("red", " "), Stop.ANSWER),
        (thought("red") + "<answer>B</answer>", Stop.ANSWER),
    ],
)
def test_format_needs_one_answer_at_the_end_that_the_model_closed(preset, text, stop):
    assert score_one(make_episode(text, stop=stop), preset)["format"] == 0.0


def test_a_closed_thought_is_asked_for_by_paper_only():
    episode = make_episode("<think>red <answer>A</answer>")
    assert score_one(episode, "paper")["format"] == 0.0
    assert score_one(episode, "code")["format"] == 0.5


def test_reward_is_the_sum_of_weighted_terms_and_a_zero_weight_drops_a_term():
    def answer_is_short(question, episode):
        return 0.25 if len(episode.answer) < 3 else 0.0

    config = RewardConfig("code", accuracy_weight=2.0, length_weight=0.0)
    episode = make_episode(thought(LOOK), [make_look()])
    (scored,) = scoring.score([make_group([episode])], config, extra_terms=[answer_is_short])
    assert set(scored.terms) == {"accuracy", "format", "region", "answer_is_short"}
    assert scored.reward.dtype == np.float32
    assert scored.reward[0] == pytest.approx(2.0 + 0.5 + 0.5 + 0.25)


def test_a_term_that_is_not_finite_is_an_error_that_names_term_and_question():
    def broken(question, episode):
        return float("nan")

    group = make_group([make_episode(thought("red"))])
    with pytest.raises(ValueError, match=r"term 'broken' gave nan for question 'q1'"):
        scoring.score([group], RewardConfig(), extra_terms=[broken])
    with pytest.raises(ValueError, match="two reward terms are named 'broken'"):
        scoring.score([group], RewardConfig(), extra_terms=[broken, broken])


def test_over_turn_and_truncated_episodes_leave_the_mask_unless_asked_to_stay():
    stops = [Stop.ANSWER, Stop.TURNS, Stop.LENGTH, Stop.END]
    group = make_group([make_episode("x", stop=stop, answer=None) for stop in stops])
    (masked,) = scoring.score([group], RewardConfig())
    assert masked.counted.tolist() == [True, False, False, True]
    (kept,) = scoring.score([group], RewardConfig(mask_over_turn=False, mask_truncated=False))
    assert kept.counted.all()


def test_only_unknown_answers_reach_the_judge_all_in_one_call():
    calls = []

    def judge(requests):
        calls.append([request.answer for request in requests])
        return [Verdict.RIGHT, Verdict.UNKNOWN]

    question = make_question("a car", "gqa")
    answers = ["car", "automobile", "it may well be some kind of vehicle", ""]
    group = make_group([make_episode("x", answer=answer) for answer in answers], question)
    (scored,) = scoring.score([group], RewardConfig(), judge)
    assert calls == [answers[1:3]]
    assert scored.verdicts == (Verdict.RIGHT, Verdict.RIGHT, Verdict.UNKNOWN, Verdict.WRONG)
    assert scored.counted.tolist() == [True, True, False, True]


def test_without_a_judge_the_preset_says_what_unknown_becomes():
    group = make_group([make_episode("x", answer="car")], make_question("automobile", "gqa"))
    for config, verdict in [
        (RewardConfig("paper"), Verdict.UNKNOWN),
        (RewardConfig("code"), Verdict.WRONG),
        (RewardConfig("paper", unknown_without_judge="wrong"), Verdict.WRONG),
        (RewardConfig("code", unknown_without_judge="leave"), Verdict.UNKNOWN),
        (RewardConfig("paper", open_vocabulary=()), Verdict.WRONG),
    ]:
        (scored,) = scoring.score([group], config)
        assert scored.verdicts == (verdict,)
        assert scored.counted.tolist() == [verdict is not Verdict.UNKNOWN]


@pytest.mark.parametrize(
    ("judge", "error", "message"),
    [
        (lambda requests: [], ValueError, "0 verdicts for 1 requests"),
        (lambda requests: [1.0], TypeError, r"returned 1\.0, expected a records\.Verdict"),
    ],
)
def test_a_judge_that_does_not_keep_to_its_interface_is_an_error(judge, error, message):
    group = make_group([make_episode("x", answer="car")], make_question("automobile", "gqa"))
    with pytest.raises(error, match=message):
        scoring.score([group], RewardConfig(), judge)


def test_a_question_without_an_answer_cannot_be_scored():
    group = make_group([make_episode("x")], make_question(None))
    with pytest.raises(ValueError, match="question 'q1' has no answer"):
        scoring.score([group], RewardConfig())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "papre"}, "preset 'papre' is unknown"),
        ({"unknown_without_judge": "drop"}, "use 'preset', 'leave' or 'wrong'"),
        ({"length_weight": float("nan")}, "length_weight is nan"),
    ],
)
def test_a_wrong_configuration_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RewardConfig(**fields)
