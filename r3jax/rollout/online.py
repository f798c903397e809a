"""Orders that come while others are answered: a source of the loop that other threads feed.

One thread runs `Line.serve`, and with it everything that computes. Others prepare orders, put them
in line and give them up; what becomes of an order is told through the function that came with it.
"""

import codecs
import collections
import dataclasses
import itertools
import threading
from collections.abc import Sequence

import numpy as np

from r3jax import batches, patches
from r3jax.buckets import Buckets
from r3jax.data import chat, frames
from r3jax.data.tokenizer import Tokenizer
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.orders import Order, OrderError, Progress, Tell
from r3jax.records import Prompt
from r3jax.rollout import coming, engine, loop, sampling, seats, serve
from r3jax.rollout.serve import Snapshot
from r3jax.rollout.state import DecodeState

NEAR = 8  # steps between looks at the line while somebody waits for them
FAR = 64  # steps otherwise
COLDEST = 1e-4  # a temperature below it is greedy: logits divided by it are no numbers any more
LEAST_P = 1e-6  # of top_p: the likeliest token alone


@dataclasses.dataclass(frozen=True, eq=False)
class Ticket:
    """An order that is ready to be put in line."""

    order: Order
    prompt: Prompt
    frame: frames.Frame | None


class _Place:
    """A ticket's way through the line. Its number is its own; `tell` hears of it, and of its
    progress where it is `watched`; what has been told so far is the loop's to know."""

    def __init__(self, number: int, ticket: Ticket, tell: Tell, watched: bool):
        self.number, self.ticket, self.tell, self.watched = number, ticket, tell, watched
        self.given_up = self.stopped = False
        self.length, self.looks = 1, 0  # slot 0 is the last prompt token
        self.text = codecs.getincrementaldecoder("utf-8")("replace")


class Line:
    """Orders on their way to an engine with groups of one episode that come and go one at a time,
    and whose tokens are chosen `by_question`."""

    def __init__(self, eng: engine.Engine):
        if eng.config.arriving != 1 or eng.config.episodes != 1:
            raise ValueError(
                "a line serves groups of one episode that come one at a time: expected episodes 1 "
                f"and exchange 1, found {eng.config.episodes} and {eng.config.exchange}"
            )
        self.engine = eng
        self.tally = engine.Tally()
        self._bytes = eng.tokenizer.token_bytes()
        self._numbers = itertools.count()
        self._change = threading.Condition()  # guards what follows
        self._waiting: collections.deque[_Place] = collections.deque()
        self._closing = False
        # Only the thread that serves touches these.
        self._next: tuple[_Place, coming.Built] | None = None
        self._seated: dict[int, _Place] = {}

    # What other threads call.

    def prepare_order(self, order: Order) -> Ticket:
        """Makes the prompt of an order.

        Raises: ValueError where the prompt or its images are too large for the engine's buckets.
        """
        shapes = self.engine.buckets
        prompt, frame = chat.build_prompt(order.question, self.engine.tokenizer, self.engine.form)
        tokens, most = len(prompt.tokens) - 1, max(shapes.prompt_tokens)
        if tokens > most:
            raise ValueError(
                f"the prompt has {tokens + 1} tokens, images included, but at most {most + 1} are "
                "taken: shorten the text, or send fewer or smaller images"
            )
        grids = [patches.merged_grid(image.shape) for image in prompt.images]
        batches.choose_images([grids], shapes.images, "images of a request")
        return Ticket(order, prompt, frame)

    def put(self, ticket: Ticket, tell: Tell, watched: bool = False) -> _Place:
        """Puts a ticket in line; `tell` is called from the thread that serves, at once.

        Raises: RuntimeError where the line is closed.
        """
        place = _Place(next(self._numbers), ticket, tell, watched)
        with self._change:
            if self._closing:
                raise RuntimeError("the line is closed: nothing is served any more")
            self._waiting.append(place)
            self._change.notify()
        return place

    def give_up(self, place: _Place) -> None:
        """Nobody waits for this one any longer: it leaves the line, or the rows that it has."""
        with self._change:
            place.given_up = True
            if place in self._waiting:
                self._waiting.remove(place)

    def stop(self, place: _Place) -> None:
        """This one has written enough: it ends as it is."""
        place.stopped = True

    def close(self) -> None:
        """Takes no more; what is in line is still served."""
        with self._change:
            self._closing = True
            self._change.notify()

    # What the thread that computes calls.

    def serve(self, policy: Policy) -> None:
        """Answers what comes until the line is closed and empty."""
        try:
            for number, group in loop.drive(self.engine, policy, self, self.tally):
                place = self._seated.pop(number)
                if not place.given_up:
                    place.tell(group)
        except Exception as error:  # whatever it is: who is in line must hear of it
            self._fail(error)
            raise

    @property
    def ended(self) -> bool:
        """Whether no more can come."""
        with self._change:
            return self._closing and not self._waiting and self._next is None

    def prepare(self) -> None:
        """Arranges the images of the first in line."""
        while self._next is None:
            with self._change:
                if not self._waiting:
                    return
                place = self._waiting.popleft()
            try:
                self._next = place, self._arrange(place)
            except ValueError as error:  # of this order alone: the others are still served
                place.tell(OrderError(str(error)))

    def take(self) -> coming.Built | None:
        """The first in line, if there is one that is still waited for."""
        while True:
            self.prepare()
            if self._next is None:
                return None
            (place, built), self._next = self._next, None
            if not place.given_up:
                self._seated[place.number] = place
                return built

    def wait(self) -> bool:
        """Waits until somebody comes, or the line is closed; returns whether anybody did."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closing)
            return bool(self._waiting)

    def steps(self, has_room: bool) -> int:
        """Few, where others could come in or somebody looks on."""
        watched = any(place.watched for place in self._seated.values())
        return NEAR if has_room or watched else FAR

    def watch(self, state: DecodeState, snapshot: Snapshot, seated: seats.Seats) -> list[int]:
        """Tells of the progress of those who are watched; returns the groups that are to end."""
        places = {group: self._seated[number] for group, number in seated.taken.items()}
        on = [group for group, one in places.items() if one.watched and not one.given_up]
        for chunk in serve.in_chunks(self.engine, [(group, 0) for group in on]):
            rows = np.asarray(self.engine.programs.recent(state, serve.asking(self.engine, chunk)))
            for at, row in zip(chunk, rows):
                looks = seated.own[at[0]].rows[0].looks
                self._tell(places[at[0]], row, int(snapshot.length[at]), looks)
        return [group for group, one in places.items() if one.given_up or one.stopped]

    def _tell(self, place: _Place, recent: np.ndarray, length: int, looks: Sequence) -> None:
        """Tells what a row has written since it was told last; `recent` are its last tokens."""
        new = recent[max(len(recent) - (length - place.length), 0) :]
        text = place.text.decode(b"".join(self._bytes[token] for token in new))
        shown = tuple(looks[place.looks :])
        place.length, place.looks = length, len(looks)
        if text or shown:
            place.tell(Progress(text, shown))

    def _arrange(self, place: _Place) -> coming.Built:
        order, ticket = place.ticket.order, place.ticket
        most = max(self.engine.buckets.suffix_tokens)
        budget = 1 + min(most, most if order.max_tokens is None else order.max_tokens)
        asked = sampling.Asked(
            np.array([order.temperature if order.temperature >= COLDEST else 0], np.float32),
            np.array([max(order.top_p, LEAST_P)], np.float32),
            np.array([budget], np.int32),
        )
        built = [(ticket.prompt, ticket.frame)]
        numbers, questions = [place.number], [order.question]
        # As the only question of step 0, which it is where one is asked alone (`VLM.look_again`).
        return coming.arrange(
            self.engine, numbers, questions, built, order.seed, 0, keyed=[0], asked=asked
        )

    def _fail(self, error: Exception) -> None:
        """Tells everybody that nothing comes any more."""
        with self._change:
            self._closing = True
            left = [*self._waiting, *self._seated.values()]
            self._waiting.clear()
        for place in left if self._next is None else [*left, self._next[0]]:
            place.tell(error)


def make_engine(
    model: Qwen25VL, tokenizer: Tokenizer, form: chat.ChatFormat, buckets: Buckets, rows: int
) -> engine.Engine:
    """An engine for a line, with so many rows."""
    how = engine.RolloutConfig(rows, 1, exchange=1, patience=1)
    return engine.make_engine(model, tokenizer, form, buckets, how, by_question=True)
