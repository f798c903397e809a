"""The page of a data set that was made: stages, examples of what each removed, some that passed."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from r3jax.curate import replay, stages, store, teacher
from r3jax.curate.report import Report
from r3jax.curate.samples import Decision, Sample
from r3jax.data import images
from r3jax.records import Question
from r3jax.view import contact_sheet, sieve

KEPT = 12  # traces that are shown of those that passed
COLUMNS = ("in", "kept", "dropped", "undecided", "requests", "prompt tokens", "reply tokens", "$")


def render(
    made: Report,
    counts: Sequence[stages.Count],
    output: Path,
    last: Path,
    settings: Mapping[str, object],
) -> str:
    """The page; `last` is the file of the last stage."""
    shown = [_stage(made, count, output) for count in counts]
    passed = [_card(sample, output) for sample in itertools.islice(stages.kept(last), KEPT)]
    first = made.stages[0]
    summary = (
        f"{made.traces:,} traces of {first.entered:,} rows, {made.undecided:,} undecided, "
        f"{made.dollars:.2f} dollars."
    )
    if made.not_run:
        summary += f" Not run: {', '.join(made.not_run)}."
    return sieve.sieve_html("Traces", summary, COLUMNS, shown, passed, settings)


def _stage(made: Report, count: stages.Count, output: Path) -> sieve.Stage:
    one = next(stage for stage in made.stages if stage.name == count.name)
    usage = one.usage
    numbers = (one.entered, one.kept, one.dropped, one.undecided, usage.requests)
    cells = (f"{n:,}" for n in (*numbers, usage.prompt_tokens, usage.completion_tokens))
    examples, told = {}, {}
    for reason, decisions in count.examples.items():
        examples[reason] = [_card(d.sample, output, _note(d)) for d in decisions if d.sample.image]
        told[reason] = [d.told for d in decisions if not d.sample.image]
    return sieve.Stage(
        one.name, one.what, (*cells, f"{one.dollars:.2f}"), one.reasons, examples, told
    )


def _note(decision: Decision) -> str:
    return f"{decision.verdict}: {decision.told}" if decision.told else ""


def _card(sample: Sample, output: Path, note: str = "") -> contact_sheet.Card:
    folder = output / store.IMAGES
    question = Question(sample.id, sample.question, (images.open_image(sample.image, folder),))
    facts = (sample.source, f"known: {' or '.join(sample.answers)}")
    episode = None
    if sample.segments:
        taken = teacher.crops_of(sample, folder)
        episode = replay.as_episode(sample.segments, taken)
        facts = (*facts, f"answer: {episode.answer}")
    things = "; ".join(f"{n}: {thing}" for n, thing in enumerate(sample.things, 1))
    note = " · ".join(filter(None, (note, things and f"recognised in crops: {things}")))
    return contact_sheet.Card(question, episode, facts, note)
