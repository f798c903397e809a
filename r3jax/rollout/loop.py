"""The loop between device and host: decode until there is something to do, do it, go on.

    questions -> prompts -> encode, prefill -> decode -> boxes -> crops -> encode, append -> decode
                                 ^                \\-> answers -> records
                                 \\-- free groups of rows <-/

Rows of all groups move together. What is inserted continues the KV cache: nothing is encoded or
prefilled twice. A group whose episodes have ended gives its rows to the next question; rows that
wait for crops wait while others decode, but not for long.

Where questions come from, and who looks on while they are answered, is a `Source`: a list of them
(`coming.Queue`), or people who ask while others are answered (`online.Line`).
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from r3jax import hosts, shares
from r3jax.model.qwen import Policy
from r3jax.phases import Phase, span
from r3jax.records import Group
from r3jax.rollout import coming, crops, seats, serve
from r3jax.rollout.decode import FOREVER, Until
from r3jax.rollout.state import DecodeState, Status

if TYPE_CHECKING:
    from r3jax.rollout.engine import Engine, Tally

AHEAD = 8  # steps that others decode while the host cuts crops


@runtime_checkable
class Source(Protocol):
    """Where the questions of a rollout come from.

    `ended` says that no more will come.
    """

    ended: bool

    def prepare(self) -> None:
        """Builds what comes next, if anything does: called while the device decodes."""

    def take(self) -> coming.Built | None:
        """The next questions, or None where there are none now."""

    def wait(self) -> bool:
        """Waits for questions while none is answered; returns whether any will come."""

    def steps(self, has_room: bool) -> int:
        """After how many steps the loop is to come back, if groups of rows are free or not."""

    def watch(
        self, state: DecodeState, snapshot: serve.Snapshot, seated: seats.Seats
    ) -> Collection[int]:
        """Is shown what rows have done; returns the groups that nobody waits for any longer."""


def drive(
    engine: "Engine", policy: Policy, source: Source, tally: "Tally"
) -> Iterator[tuple[int, Group]]:
    """Yields the number of each question that comes and its group as it is finished.

    A group that nobody waits for is stopped and yielded as it is. `tally` is complete at the end.
    """
    config, run = engine.config, engine.programs
    tally.rows = config.questions * config.episodes
    patience = config.patience * tally.rows
    sides, state, finished = engine.buckets.originals, None, ()
    seated = seats.Seats({}, {}, crops.room(engine.way, config.questions, sides, run.room))
    free = seats.in_turn(range(config.questions), engine)
    while True:
        arrived = list(itertools.islice(iter(source.take, None), len(free)))
        if state is None and arrived:
            state = run.start(max(one.prompt_tokens for one in arrived))
        for one in arrived:
            state = seats.admit(engine, policy, state, one, free.pop(0), seated)
        if not seated.taken:
            tally.steps += 0 if state is None else int(state.steps)
            state, finished = None, ()  # what comes may be shorter; meanwhile nothing is kept
            if not source.wait():
                return
            continue
        # Groups that have left and that nobody has taken stay finished on the device.
        left = sum(group not in seated.taken for group in finished)
        wanted = FOREVER if source.ended else (config.arriving + left) // run.parts
        until = Until(source.steps(bool(free)), patience, wanted)
        with span(Phase.DECODE) as done:
            state = done(run.decode(policy, state, until))
        source.prepare()
        with span(Phase.DECODE):
            snapshot = serve.read(run.rows(state))
        state = _with_room(engine, state, snapshot)
        if given_up := source.watch(state, snapshot, seated):
            state, snapshot = _stop(engine, state, snapshot, given_up)
        if snapshot.waiting and (not snapshot.decodes or snapshot.waited >= patience):
            state = _serve(engine, policy, state, snapshot, seated)
        finished = snapshot.finished
        for leaving in seats.due(engine, snapshot, seated.taken):
            sampled, groups = seats.leave(engine, state, seated, leaving)
            tally.tokens += sampled
            free.append(leaving)
            yield from groups


def _stop(
    engine: "Engine", state: DecodeState, snapshot: serve.Snapshot, groups: Collection[int]
) -> tuple[DecodeState, serve.Snapshot]:
    """Stops the rows of groups: they are finished as they are."""
    run, status = engine.programs, snapshot.status.copy()
    status[list(groups)] = Status.STOPPED
    rows = [(group, g) for group in groups for g in range(engine.config.episodes)]
    for chunk in serve.in_chunks(engine, rows):
        state = run.settle(state, run.place(serve.stopping(engine, chunk)))
    return state, dataclasses.replace(snapshot, status=status)


def _serve(
    engine: "Engine",
    policy: Policy,
    state: DecodeState,
    snapshot: serve.Snapshot,
    seated: seats.Seats,
) -> DecodeState:
    """Gives the waiting rows what they ask for, while the others decode."""
    run = engine.programs
    rows = {(b, g): row for b, seat in seated.own.items() for g, row in enumerate(seat.rows)}
    with span(Phase.LOOKS) as done:
        chunks = list(serve.in_chunks(engine, snapshot.waiting))
        texts = [serve.new_text(engine, state, snapshot, chunk, rows) for chunk in chunks]
        if snapshot.decodes:
            state = run.decode(policy, state, Until(AHEAD, FOREVER, FOREVER))
        for chunk, text in zip(chunks, texts, strict=True):
            given = chunk, text, rows, seated.originals
            served = serve.insert_looks(engine, snapshot, *given)
            insertion = run.place(served.insertion)
            # Where there is none, they ask once too often, or have no room.
            if not hosts.any_of("insertions", bool(served.insertion.count.any())):
                state = run.settle(state, insertion)
                continue
            features = run.encode(policy, run.place(served.crops))
            state = run.append(policy, state, insertion, features)
            if engine.keep_features:
                serve.keep_features(served, rows, shares.own(features))
        return done(state)


def _with_room(engine: "Engine", state: DecodeState, snapshot: serve.Snapshot) -> DecodeState:
    """Grows the state where a row is about to fill its slots."""
    run, slots = engine.programs, state.tokens.shape[-1]
    needed = serve.reach(snapshot, engine.buckets.look_tokens) + run.spare
    while slots < run.slots[-1] and needed > slots:
        level = run.slots.index(slots)
        state, slots = run.grow[level](state), run.slots[level + 1]
    return state
