"""Benchmarks by name: where their questions stand in the files that are published of them.

    items = readers.read("MMStar", "data/MMStar")

Each takes the columns of its Hugging Face snapshot (parquet, JSONL, CSV beside images) and those of
VLMEvalKit's TSV. Source: the dataset cards, and what lmms-eval and VLMEvalKit read.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from r3jax import paths
from r3jax.data import snapshots, tables
from r3jax.data.images import StoredImage
from r3jax.data.tables import TableError, TableRow
from r3jax.evaluate import benchmarks, readers_free, readers_options
from r3jax.evaluate.items import Item


@dataclasses.dataclass(frozen=True)
class Reader:
    """How an item is made of a row, and which `splits` of a snapshot are meant, the first that are
    all there; `nested`: it may have a folder a subject. Rows with another `split` of their own than
    those are left out, where a table is `of_several`."""

    item: Callable[[TableRow], Item]
    splits: tuple[tuple[str, ...], ...] = (("test",),)
    nested: bool = False
    of_several: bool = False

    def means(self, row: TableRow) -> bool:
        """Whether a row is one of those that are meant."""
        names = {name for names in self.splits for name in names}
        return not self.of_several or row.values.get("split", "") in ("", *names)


def read(benchmark: str, path: str | pathlib.Path) -> list[Item]:
    """The questions of a benchmark from a file, or a folder of a snapshot's files.

    Raises: ValueError for a benchmark that is not known, or one of its splits or sizes, which files
    tell; TableError (a ValueError) for files that hold none of its questions, naming file and row.
    """
    name = benchmarks.find(benchmark).name
    if not benchmarks.is_whole(benchmark):
        raise ValueError(f"benchmark {benchmark!r}: name it {name}, and the file that you mean")
    reader = READERS[name]
    rows = _gqa_rows(paths.of(path))
    if rows is None:
        rows = tables.read(*snapshots.files(path, reader.splits, reader.nested))
    items = [reader.item(row) for row in _with_shared_images(rows) if reader.means(row)]
    seen: dict[str, str] = {}
    for item in items:
        if item.id in seen:
            raise TableError(f"{item.where}: has the id {item.id}, as {seen[item.id]} has")
        seen[item.id] = item.where
    return items


def _with_shared_images(rows: Sequence[TableRow]) -> list[TableRow]:
    """Rows whose `image` is the number of another row with the image of that one."""
    stored = {
        str(row.values["index"]): row.values["image"]
        for row in rows
        if "index" in row.values and not isinstance(row.values.get("image"), str | None)
    }

    def shared(row: TableRow) -> TableRow:
        image = row.values.get("image")
        if isinstance(image, str) and image in stored:
            return dataclasses.replace(row, values={**row.values, "image": stored[image]})
        return row

    return [shared(row) for row in rows]


def _gqa_rows(path: pathlib.Path) -> list[TableRow] | None:
    """Rows of GQA's snapshot, whose images are in a folder of their own; None for another one."""
    questions, pictures = (path / f"testdev_balanced_{kind}" for kind in ("instructions", "images"))
    if not (questions.is_dir() and pictures.is_dir()):
        return None
    shown: dict[str, StoredImage] = {
        row.values["id"]: row.values["image"] for row in tables.read(*snapshots.files(pictures))
    }
    rows = tables.read(*snapshots.files(questions))
    for row in rows:
        if row.values.get("imageId") not in shown:
            raise TableError(f"{row.where}: no image {row.values.get('imageId')!r} in {pictures}")
    return [
        dataclasses.replace(row, values={**row.values, "image": shown[row.values["imageId"]]})
        for row in rows
    ]


_VALIDATION = (("validation",), ("val",))
READERS: Mapping[str, Reader] = {
    "MathVista": Reader(readers_free.mathvista, (("testmini",), ("test",))),
    "MathVision": Reader(readers_free.mathvision),
    "ScienceQA": Reader(readers_options.scienceqa),
    "HallusionBench": Reader(readers_free.hallusionbench, (("image",),)),
    "DocVQA": Reader(readers_free.documents, _VALIDATION),
    "InfographicVQA": Reader(readers_free.documents, _VALIDATION),
    "TextVQA": Reader(readers_free.documents, _VALIDATION),
    "GQA": Reader(readers_free.gqa),
    "VSR": Reader(readers_free.vsr),
    "MMMU": Reader(readers_options.mmmu, (("validation",),), nested=True, of_several=True),
    "MMStar": Reader(readers_options.mmstar, (("val",),)),
    "MME-RealWorld": Reader(readers_options.mme_realworld, (("train",), ("test",))),
    "V*": Reader(readers_options.vstar, (("test",), ("test_questions",))),
    "HR-Bench": Reader(readers_options.hrbench, (("hr_bench",),)),
    "MMVP": Reader(readers_options.mmvp, (("Questions",), ("train",))),
    "CV-Bench": Reader(readers_options.cvbench, (("test",), ("test_2d", "test_3d"))),
    "MMK12": Reader(readers_free.mmk12),
}
