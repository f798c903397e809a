"""The table of a profile: rows add up to the step, what did not come is named, text is escaped."""

import pytest

from r3jax.phases import Phase, StepTimes
from r3jax.view import profile


def make_times(step: int, **phases: tuple[float, int]) -> StepTimes:
    """Seconds and calls of the phases named."""
    named = {Phase[name]: pair for name, pair in phases.items()}
    pairs = {phase: named.get(phase, (0.0, 0)) for phase in Phase}
    return StepTimes(step, *({p: pair[i] for p, pair in pairs.items()} for i in (0, 1)))


STEPS = (
    make_times(1, DATA=(0.5, 1), DECODE=(2.0, 3), UPDATE=(1.0, 2), IDLE=(0.5, 0)),
    make_times(2, DATA=(0.5, 1), DECODE=(4.0, 4), UPDATE=(1.0, 2), IDLE=(0.5, 0)),
)


def test_rows_are_means_of_a_step_and_add_up_to_it():
    found = profile.rows(profile.Profile("R-GRPO", STEPS))
    assert [(row.phase, row.seconds, row.calls) for row in found] == [
        (Phase.DATA, 0.5, 1.0),
        (Phase.DECODE, 3.0, 3.5),
        (Phase.UPDATE, 1.0, 2.0),
        (Phase.IDLE, 0.5, 0.0),
    ]
    assert sum(row.seconds for row in found) == 5.0
    assert sum(row.share for row in found) == pytest.approx(1.0)


def test_the_table_is_markdown_that_stands_in_columns():
    text = profile.markdown(profile.Profile("R-GRPO", STEPS, ["A note."]))
    assert "5.000 s a step: steps 2, 3 took 4.000, 6.000 s." in text
    assert "| decode |  3.000 |  60.0 % |        3.5 | sampling" in text
    assert "| all    |  5.000 | 100.0 % |            |" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 7 and len({len(line) for line in table}) == 1
    absent = "prefill, looks, rewards, log-probs, checkpoint"
    assert text.endswith(f"Not in these steps: {absent}.\n\nA note.\n")


def test_the_page_shows_the_same_rows_and_escapes_its_text():
    html = profile.html(profile.Profile("<b>R", STEPS, ["a < b"]))
    assert "&lt;b&gt;R" in html and "a &lt; b" in html and "<b>R" not in html
    assert html.count('<div class="bar">') == 4 and "width:60.00%" in html
    assert "<th>all</th><td>5.000</td>" in html


def test_every_phase_has_its_meaning():
    assert list(profile.MEANING) == list(Phase)
