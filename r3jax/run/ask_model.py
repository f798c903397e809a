"""A model directory answers the questions of an evaluation."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r3jax.data import chat
from r3jax.data.frames import PixelBounds
from r3jax.model.layers import Dtype
from r3jax.records import Question
from r3jax.run import evaluate, origins, pretrained, shapes
from r3jax.run.suites import Reply, Suite


@dataclasses.dataclass(frozen=True)
class Model:
    """A model directory in a chat format, asked `batch` questions at a time. Its weights are read
    when somebody asks."""

    directory: str | Path
    form: chat.ChatFormat
    settings: Mapping[str, Any]
    temperature: float
    seed: int
    batch: int
    max_text_tokens: int
    dtype: Dtype

    def replies(self, suite: Suite, first: int) -> Iterator[list[Reply]]:
        """Yields replies with their looks; see `benchmark.Asker`."""
        arriving = evaluate.arriving(self.batch)
        start = pretrained.load(self.directory, self.form, on_host=True, dtype=self.dtype)
        buckets = shapes.buckets_for(
            self.form,
            start.tokenizer,
            self.batch,
            text_tokens=self.max_text_tokens,
            arriving=arriving,
            images=suite.most_images,
        )
        eng = evaluate.make_engine(start, buckets, self.temperature, self.batch)
        questions = _Questions(suite, self.form)
        for batch in evaluate.ask(eng, start.params, questions, self.seed, first):
            yield [
                Reply(
                    episode.text,
                    tuple(look.outcome.value for look in episode.looks),
                    episode.stop.value,
                    len(episode.tokens),
                )
                for _, episode in batch
            ]


def of_directory(
    directory: str | Path,
    temperature: float,
    seed: int,
    batch: int,
    max_text_tokens: int,
    dtype: Dtype,
    changed: Mapping[str, Any],
) -> Model:
    """A model directory that is asked in its own chat format but for what is `changed` of it."""
    settings = {
        "model": str(directory),
        "weights": origins.fingerprint_model(directory),
        "temperature": temperature,
        "max_text_tokens": max_text_tokens,
        "dtype": dtype,
        **changed,
    }
    form = change(pretrained.chat_format(directory), changed)
    return Model(directory, form, settings, temperature, seed, batch, max_text_tokens, dtype)


def change(form: chat.ChatFormat, changed: Mapping[str, Any]) -> chat.ChatFormat:
    """A chat format with another `instruction`, `max_looks`, or `image_tokens`, [fewest, most]."""
    if "max_looks" in changed:
        rules = dataclasses.replace(form.look_rules, max_looks=changed["max_looks"])
        form = dataclasses.replace(form, look_rules=rules)
    if "image_tokens" in changed:
        bounds = PixelBounds.of_tokens(*changed["image_tokens"])
        form = dataclasses.replace(form, image_bounds=bounds)
    if "instruction" in changed:
        form = dataclasses.replace(form, instruction=changed["instruction"])
    return form


@dataclasses.dataclass(frozen=True)
class _Questions(Sequence):
    """The questions of a suite, their images opened when they are asked for."""

    suite: Suite
    form: chat.ChatFormat

    def __len__(self) -> int:
        return len(self.suite.ids)

    def __getitem__(self, number: int) -> Question:
        return self.suite.question(number, self.form)
