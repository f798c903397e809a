"""What an inspection has found, as one record, as JSON and as lines for people."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from r3jax.curate.rows import Found
from r3jax.curate.survey import CropCheck, Quantiles, Survey


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A file, inspected: `lengths` in tokens are of `measured` rows by the tokenizer of `model`;
    `crops` says nothing of a file without traces."""

    file: str
    format: str
    rows: int
    good: int
    looks: Mapping[int, int]
    sources: Mapping[str, int]
    numbers: Mapping[str, Quantiles]
    model: str
    measured: int
    lengths: Mapping[str, Quantiles]
    crops: CropCheck | None
    faults: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, file: str, survey: Survey, model: str, measured: int, **found) -> "Inspection":
        """That of a survey, and what was `found` of its sample."""
        return cls(
            file=file,
            format=survey.format or "no known format",
            rows=survey.rows,
            good=survey.good,
            looks=dict(sorted(survey.looks.items())),
            sources=dict(survey.sources.most_common()),
            numbers={name: Quantiles.of(values) for name, values in survey.numbers.items()},
            model=model,
            measured=measured,
            faults=dict(survey.faults.most_common()),
            examples={
                fault: tuple(told(file, one) for one in bad)
                for fault, bad in survey.examples.items()
            },
            **found,
        )

    def as_json(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """What people read on a terminal."""
        crops = ["", *self.crop_files()] if self.crop_files() else []
        return [*self.counts(), *self._sizes(), *crops, *self._bad_rows()]

    def counts(self) -> list[str]:
        """How many rows there are, of what kind."""
        bad = self.rows - self.good
        told = [f"{self.file}: {self.format}, {self.rows} rows, {self.good} good, {bad} bad"]
        if self.looks:
            told.append("looks a row: " + ", ".join(f"{n}: {k}" for n, k in self.looks.items()))
        if self.sources:
            told.append("sources: " + ", ".join(f"{name} {n}" for name, n in self.sources.items()))
        return told

    def crop_files(self) -> list[str]:
        """How crop files are to the crops that boxes give."""
        if self.crops is None or not self.crops.counts:
            return []
        counts = ", ".join(f"{n} {likeness}" for likeness, n in sorted(self.crops.counts.items()))
        return [f"crop files of {self.crops.rows} rows: {counts}", *self.crops.told]

    def _sizes(self) -> list[str]:
        told = ["", *_table({**self.numbers, **self.lengths})] if self.numbers else []
        if self.lengths:
            told.append(f"tokens of texts: {self.measured} rows, by the tokenizer of {self.model}")
        return told

    def _bad_rows(self) -> list[str]:
        told = ["", "bad rows"] if self.faults else []
        for fault, count in self.faults.items():
            told += [f"  {fault}: {count}", *(f"    {line}" for line in self.examples[fault])]
        return told


def told(file: str, bad: Found) -> str:
    """An error, after the place of its row as editors open it."""
    place = f"{file}:{bad.line}: " if bad.line else ""
    return place + str(bad.error).removeprefix(f"{bad.where}: ")


def _table(numbers: Mapping[str, Quantiles]) -> list[str]:
    head = f"{'':20}{'least':>10}{'median':>10}{'95 %':>10}{'most':>10}{'sum':>16}"
    rows = [
        f"{name:20}{q.least:>10,}{q.median:>10,}{q.high:>10,}{q.most:>10,}{q.total:>16,}"
        for name, q in numbers.items()
    ]
    return [head, *rows]
