"""Inspecting a file of traces, questions or conversations: counts, and a page to look at."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from r3jax import paths
from r3jax.curate import replay, rows, survey
from r3jax.curate.inspection import Inspection
from r3jax.curate.survey import Checked
from r3jax.data import images, vlir
from r3jax.data.frames import PixelBounds
from r3jax.data.tokenizer import Tokenizer
from r3jax.records import Question
from r3jax.view import contact_sheet

MODEL = "assets/look_again_base"
MEASURED = 2000  # rows whose texts are counted in tokens


@dataclasses.dataclass(frozen=True)
class Options:
    """How a file is inspected: where its images lie ("": beside it), the tokens of the smallest and
    largest image that its boxes are meant for, whose tokenizer counts, of how many rows crop files
    are opened and compared, and how many are shown; `seed` draws them. `strict` stops at the first
    bad row."""

    images: str = ""
    tokens: tuple[int, int] = (4, 2048)
    model: str = MODEL
    compared: int = 200
    shown: int = 24
    seed: int = 0
    strict: bool = False

    @property
    def boxes_in(self) -> PixelBounds:
        """The bounds of the images that boxes are pixels of."""
        return PixelBounds.of_tokens(*self.tokens)

    def root(self, file: Path) -> Path:
        """The folder that no image may lie outside of."""
        return paths.of(self.images) if self.images else file.parent


def inspect(file: str | Path, options: Options, page: str | Path | None = None) -> Inspection:
    """Reads a file whole, its images' headers, and pixels of a sample; writes `page`, if named.

    Raises: RowError at the first bad row if `strict`; OSError where there is no such file.
    """
    file = paths.of(file)
    tokenizer = Tokenizer.from_dir(options.model)
    root = options.root(file)
    counted = survey.Survey(max(MEASURED, options.compared, options.shown), options.seed)
    for one in survey.check(rows.read(file, root, options.boxes_in)):
        if options.strict and not isinstance(one, Checked):
            raise one.error
        counted.add(one)
    sample = counted.sample
    found = Inspection.of(
        str(file),
        counted,
        options.model,
        min(len(sample), MEASURED),
        lengths=survey.sequence_lengths(sample[:MEASURED], lambda t: len(tokenizer.encode(t))),
        crops=survey.compare_crops(sample[: options.compared], root) if counted.looks else None,
    )
    if page is not None:
        html = _page(found, counted, sample[: options.shown])
        paths.of(page).write_text(html, "utf-8")
    return found


def _page(found: Inspection, counted: survey.Survey, sample: Sequence[Checked]) -> str:
    numbers = {
        name: [f"{number:,}" for number in dataclasses.astuple(quantiles)]
        for name, quantiles in {**found.numbers, **found.lengths}.items()
    }
    faults = [
        contact_sheet.Fault(name, count, found.examples[name], _content(counted.examples[name][0]))
        for name, count in found.faults.items()
    ]
    cards = [card for one in sample if (card := _card(one)) is not None]
    return contact_sheet.sheet_html(
        title=found.file,
        summary=". ".join(found.counts()),
        numbers=numbers,
        columns=("least", "median", "95 %", "most", "sum"),
        crop_files=found.crop_files(),
        cards=cards,
        faults=faults,
    )


def _content(found: rows.Found) -> str:
    return "" if found.value is None else json.dumps(found.value, ensure_ascii=False, default=str)


def _card(one: Checked) -> contact_sheet.Card | None:
    """A row to look at; None where its image turns out to be damaged behind its header."""
    row = one.found.row
    try:
        image = images.open_image(row.image)
    except images.ImageError:
        return None
    question = Question(row.id, row.question, (image,))
    if not isinstance(row, vlir.SftRow):
        return contact_sheet.Card(question, None, (f"answer: {row.answer}", row.source))
    taken = replay.take_looks(row, one.frame, image)
    facts = (f"looks: {row.num_crops}", *(f"{name}: {tag}" for name, tag in row.tags.items()))
    return contact_sheet.Card(question, replay.as_episode(row.segments, taken), facts)
