"""How a benchmark's question is put: what is shown and said, in what order options stand, and what
a reply is scored against.

    (asking,) = prompts.askings([item], prompts.Order.GIVEN)
    asking.parts        # texts and numbers of images, in order
    asking.sample       # for benchmarks.score

Source: our own words, the same for all models. Papers and harnesses put most questions in several
ways; what a model answers depends on it, so that the prompts are part of a result.
"""

import dataclasses
import enum
import random
import re
from collections.abc import Iterable, Sequence
from typing import Any

from r3jax.evaluate import yes_no
from r3jax.evaluate.items import LETTERS, Asked, Item
from r3jax.records import Turn

_MARK = re.compile(r"<image (\d+)>")
_OTHERS = re.compile(  # an option that means others by their places
    r"\b(?:all|none|both|neither|any|either) of (?:the|these|those)\b|\b(?:above|below)\b"
    r"|\b[A-J] (?:and|or) [A-J]\b",
    re.IGNORECASE,
)
_SENTENCES = {
    Asked.OPTION: "Answer with the letter of the right option.",
    Asked.PHRASE: "Answer with a single word or phrase.",
    Asked.YES_NO: "Answer yes or no.",
    Asked.INTEGER: "Answer with a whole number.",
    Asked.FLOAT: "Answer with a number, digits after its point: {}.",
    Asked.LIST: "Answer with a list, as [1, 2, 3].",
    Asked.VALUE: "Answer with the value alone.",
}


class Order(enum.StrEnum):
    """In what order options stand: as they come; shuffled by a seed; or in every rotation, each of
    which must be answered rightly. Options that mean others by their places stay where they are."""

    GIVEN = "given"
    SHUFFLED = "shuffled"
    CIRCULAR = "circular"


@dataclasses.dataclass(frozen=True)
class Asking:
    """One time that an item is asked: its `id` says which, `options` are the numbers of the item's
    options in the order in which they stand."""

    item: Item
    id: str
    options: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """What is said, with marks where images stand."""
        item, shown = self.item, self._shown
        # Options that are letters stand in the image.
        is_listed = shown and list(shown) != list(LETTERS[: len(shown)])
        listed = [f"({letter}) {one}" for letter, one in zip(LETTERS, shown)] if is_listed else []
        return "\n".join([item.text, *listed, _sentence(item)])

    @property
    def parts(self) -> tuple[str | int, ...]:
        """What is shown and said: images that have no place in the text first."""
        pieces = _MARK.split(self.text)  # texts and, between them, numbers
        marked = [int(number) - 1 for number in pieces[1::2]]
        first = dict.fromkeys(marked)
        parts: list[str | int] = [n for n in range(len(self.item.images)) if n not in first]
        for at, piece in enumerate(pieces):
            if at % 2 == 0:
                parts += [piece] if piece else []
            elif (number := int(piece) - 1) in first:
                parts.append(number)
                del first[number]  # it stands where it is named first
            else:
                parts.append(f"(image {piece})")
        return tuple(parts)

    @property
    def sample(self) -> dict[str, Any]:
        """What a reply is scored against."""
        given = dict(self.item.sample)
        if self.options:
            right = self.options.index(given["answer"])
            given |= {"choices": list(self._shown), "answer": right}
        return given

    @property
    def gold(self) -> str:
        """The right answer, for people."""
        sample = self.sample
        if self.item.asked is Asked.OPTION:
            return f"{LETTERS[sample['answer']]}: {self._shown[sample['answer']]}"
        if self.item.asked is Asked.YES_NO:
            return "yes" if yes_no.is_yes(sample["answer"]) else "no"
        return " / ".join(dict.fromkeys(map(str, sample.get("answers") or [sample["answer"]])))

    @property
    def _shown(self) -> Sequence[str]:
        return [self.item.choices[number] for number in self.options] or self.item.choices


def turn_of(parts: Sequence[str | int], instruction: str) -> tuple[Turn, tuple[int, ...]]:
    """The user's turn of an asking, with what every question is followed by; and which images it
    shows, in order, which the turn counts from 0."""
    order = tuple(part for part in parts if isinstance(part, int))
    said = tuple(order.index(part) if isinstance(part, int) else part for part in parts)
    return Turn("user", (*said, f"\n{instruction}") if instruction else said), order


def askings(items: Iterable[Item], order: Order, seed: int = 0, repeats: int = 1) -> list[Asking]:
    """Every time that items are asked: all of them once, then again, `repeats` times in all."""
    once = [one for item in items for one in _orders(item, order, seed)]
    if repeats == 1:
        return once
    return [
        dataclasses.replace(one, id=f"{one.id}, time {number}")
        for number in range(1, repeats + 1)
        for one in once
    ]


def _orders(item: Item, order: Order, seed: int) -> list[Asking]:
    count = len(item.choices)
    in_image = list(item.choices) == list(LETTERS[:count])
    fixed = in_image or any(map(_OTHERS.search, item.choices))
    moves = item.asked is Asked.OPTION and not fixed
    if order is Order.GIVEN or not moves:
        return [Asking(item, item.id)]
    if order is Order.SHUFFLED:
        numbers = list(range(count))
        random.Random(f"{seed}, {item.id}").shuffle(numbers)
        return [Asking(item, item.id, tuple(numbers))]
    return [
        Asking(item, f"{item.id}, rotation {by}", tuple((n + by) % count for n in range(count)))
        for by in range(count)
    ]


def _sentence(item: Item) -> str:
    digits = item.sample.get("precision")
    sentence = _SENTENCES[item.asked]
    if item.asked is Asked.FLOAT:
        return sentence.format(int(digits)) if digits else "Answer with a number."
    return sentence
