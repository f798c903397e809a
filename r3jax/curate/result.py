"""The data set that comes out: traces in the published format, each with where it is from."""

import pathlib
from collections.abc import Iterable

from r3jax import lines
from r3jax.curate import store, teacher
from r3jax.curate.making import MakeConfig
from r3jax.curate.samples import Sample

SFT = "sft.jsonl"


def write(
    output: pathlib.Path, kept: Iterable[Sample], config: MakeConfig, fingerprint: str
) -> int:
    """Writes `sft.jsonl` whole, and the crops that it names; returns how many traces it has."""
    aside, count = output / f"{SFT}.partial", 0
    with aside.open("w", encoding="utf-8") as file:
        for sample in kept:
            file.write(lines.line(_row(output, sample, config, fingerprint)))
            count += 1
    aside.replace(output / SFT)
    return count


def _row(output: pathlib.Path, sample: Sample, config: MakeConfig, fingerprint: str) -> dict:
    names = []
    for number, look in enumerate(teacher.crops_of(sample, output / store.IMAGES)):
        names.append(f"{store.CROPS}/{sample.id}_{number}.png")
        store.keep_crop(look.crop, output / names[-1])
    return {
        "id": sample.id,
        "image_path": f"{store.IMAGES}/{sample.image}",
        "question": sample.question,
        "response_list": list(sample.segments),
        "img_crop_list": names,
        "tags": _provenance(sample, config, fingerprint),
    }


def _provenance(sample: Sample, config: MakeConfig, fingerprint: str) -> dict[str, str]:
    """Where a trace is from, who wrote it, who has looked at it, and what it was made with."""
    found = {
        "source": sample.source,
        "source_id": sample.source_id,
        "answers": " | ".join(sample.answers),
        "teacher": config.teacher.endpoint.model,
        "settings": fingerprint,
    }
    if config.recognizer is not None:
        found["recognizer"] = config.recognizer.endpoint.model
        found["shows"] = " | ".join(sample.things)
    if config.judge is not None:
        found["judge"] = config.judge.endpoint.model
    return found
