"""A run before there is a chip: every program of it compiled for a slice, and what each one needs.

config -> shapes of its state -> its programs -> the slice's compiler -> memory, costs, times
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r3jax import mesh as mesh_lib
from r3jax.buckets import Buckets
from r3jax.kernels.attention import default_backend
from r3jax.model import qwen
from r3jax.model.config import ModelConfig
from r3jax.plan import chips, topology
from r3jax.plan.layouts import Recorder
from r3jax.plan.predictions import Plan
from r3jax.plan.programs import Compiler, Program
from r3jax.plan.report import as_json, lines, suggestion
from r3jax.plan.times import Step
from r3jax.rollout import crops, stops, weights
from r3jax.rollout.decode import BURST
from r3jax.rollout.engine import RolloutConfig
from r3jax.rollout.programs import Programs, TokenRules, make_programs
from r3jax.run import experiment, longest, policy_update, pretrained, sft, train, warm
from r3jax.run.rgrpo_config import RgrpoRunConfig
from r3jax.update.state import is_frozen

__all__ = ["Plan", "as_json", "layouts", "lines", "plan", "suggest", "suggestion"]

PLATFORM = "tpu"
TURNS = {"decode": (1, BURST)}
"""How often loops turn whose turns are not known: of decoding, one burst."""

WITH_STATE = {
    "start", "grow", "widen", "admit", "decode", "recent", "settle", "written", "append",
}  # fmt: skip

DOUBLINGS = 7  # of a batch that is suggested

Tell = Callable[[Program], None]


def plan(config: Mapping, name: str, tell: Tell) -> Plan:
    """Compiles every program of a run for the topology of this `name`, and tells of each.

    Raises: ValueError for a kind of run that has no plan, or a topology that is not known.
    """
    kind, record = _read(config)
    where = chips.slice_of(name)
    mesh = mesh_lib.make_mesh(record.mesh, topology.devices(where))
    takers: list[Compiler] = []
    step = PLANNED[kind](record, mesh, _kept(takers, lambda on: Compiler(on, TURNS, tell)))
    compiled = [program for taker in takers for program in taker.programs]
    return Plan(where, tuple(mesh.devices.flat), tuple(compiled), step, record.steps)


def layouts(config: Mapping, name: str) -> list[str]:
    """How every argument of every program of a run lies on its mesh; nothing is compiled."""
    kind, record = _read(config)
    mesh = mesh_lib.make_mesh(record.mesh, topology.devices(chips.slice_of(name)))
    takers: list[Recorder] = []
    PLANNED[kind](record, mesh, _kept(takers, Recorder))
    return [line for taker in takers for line in taker.lines]


def _kept(takers: list, make: Callable) -> Callable:
    """Makes a taker of programs for a mesh, and keeps it."""

    def keep(mesh: Mesh):
        takers.append(make(mesh))
        return takers[-1]

    return keep


def suggest(config: Mapping, name: str, tell: Tell) -> tuple[str, dict[int, float]]:
    """Doubles what is computed together, from a row a chip on, while it fits; a step is one batch.

    Returns the field's name, and for each size tried the share of memory that is left. Buckets of
    images that come with a batch grow along.
    """
    kind, record = _read(config)
    field = "rollout.questions" if kind == "rgrpo" else "batch_size"
    grown = ("images",) if kind == "rgrpo" else ("images", "crops")
    before = record.rollout.questions if kind == "rgrpo" else record.together
    mesh = mesh_lib.make_mesh(record.mesh, topology.devices(chips.slice_of(name)))
    fits: dict[int, float] = {}
    for doubled in range(DOUBLINGS):
        size = mesh_lib.shards(mesh) << doubled
        changes = {field: size, "micro_batch": 0}
        for images in grown:
            changes[f"buckets.{images}"] = tuple(
                dataclasses.asdict(bucket) | {"rows": max(1, bucket.rows * size // before)}
                for bucket in getattr(record.buckets, images)
            )
        flags = [f"{experiment.PREFIX}{key}={value}" for key, value in changes.items()]
        fits[size] = plan(experiment.override(config, flags), name, tell).headroom
        if fits[size] < 0:
            break
    return field, fits


def _read(config: Mapping) -> tuple[str, Any]:
    kind, record = train.read(config)
    if kind not in PLANNED:
        raise ValueError(f"config.kind: plans are for {' and '.join(PLANNED)}, found {kind!r}")
    if kind == "rgrpo" and record.buckets.originals is None:
        raise ValueError(
            "buckets.originals: a plan reads no images, so give the height and width of the largest"
        )
    return kind, record


def _rgrpo(config: RgrpoRunConfig, mesh: Mesh, taker: Callable) -> Step:
    described = pretrained.describe(config.model)
    params = pretrained.shapes_to_train(described, config.lora, config.dtype)
    model = _model(config, described)
    learning = policy_update.make(config, model, params, _allowed(described), mesh)
    warm.check_rows(config.together, learning.learner.rows, "what is computed together")
    state = learning.learner.shape_of_init(params)
    if learning.freeze is not None:
        frozen = jax.eval_shape(learning.freeze, state.params)
        frozen = mesh_lib.lying(frozen, learning.learner.gradient)
        learning = dataclasses.replace(learning, reference=frozen)
    where = mesh_lib.for_rollouts(mesh, config.rollout.tensor)
    eng = _rollout(config, model, where)

    rollout, held = taker(where), {}

    def take(name: str, function: Callable, *args):
        made = rollout.take(name, function, *args)
        held[name.split()[0]] = made  # of states that grow, the last is the largest
        return made

    lending = weights.weights_of(eng.programs, model.config, model.dtype)
    policy = lending.programs(state.params, take)
    warm.rollout_programs(eng, policy, take)
    meanwhile = state._replace(params=lending.kept(state.params)), learning.reference, policy
    lasting = *meanwhile, held["room"]
    rollout.beside((*lasting, held.get("grow", held["start"])))
    rollout.beside(lasting, WITH_STATE)  # one state at a time, which they are given or make
    # Before there is anything else of a rollout, and after it.
    rollout.beside((state, learning.reference), {"reshard", "split"})
    rollout.beside(meanwhile, {"stack"})
    update = taker(mesh)
    policy_update.take_programs(config, eng, learning, state, update.take)
    update.beside((state, learning.reference))
    return longest.of_rgrpo(config, described, eng)


def _sft(config: sft.SftConfig, mesh: Mesh, taker: Callable) -> Step:
    described = pretrained.describe(config.model)
    params = pretrained.shapes_to_train(described, config.lora, config.dtype)
    learner = sft.make_learner(config, _model(config, described), params, mesh)
    warm.check_rows(config.together, learner.rows, "what is computed together")
    state = learner.shape_of_init(params)
    compiler = taker(mesh)
    given = learner, [config.buckets], state, _allowed(described)
    sft.every_program(config, *given, compiler.take)
    compiler.beside(state)
    return longest.of_sft(config, described)


PLANNED: Mapping[str, Callable] = {"rgrpo": _rgrpo, "sft": _sft}


def _model(config, described: ModelConfig) -> qwen.Qwen25VL:
    dtype, adapted = jnp.dtype(config.dtype), described.adapted(config.lora)
    return qwen.Qwen25VL(adapted, dtype, config.remat, default_backend(PLATFORM, dtype))


def _allowed(described: ModelConfig) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((described.text.vocab_size,), bool)


@dataclasses.dataclass(frozen=True)
class _Rollout:
    """A `warm.Rollout` of a model that may not be there."""

    model: qwen.Qwen25VL
    buckets: Buckets
    config: RolloutConfig
    programs: Programs
    way: crops.Way
    keep_features: bool


def _rollout(config: RgrpoRunConfig, model: qwen.Qwen25VL, mesh: Mesh) -> _Rollout:
    """The programs of a run's rollouts; which tokens stop a row makes no difference to them."""
    vocab, how = model.config.text.vocab_size, config.rollout
    table = np.zeros((len(stops.byte_table()), vocab), np.int16)
    rules = TokenRules(np.ones(vocab, bool), table, np.zeros(2, np.int32))
    shape = how.questions, how.episodes, config.buckets, how.arriving
    made = make_programs(model, rules, how.sampling, *shape, mesh)
    kept = is_frozen(config.optimizer, "vision")
    return _Rollout(model, config.buckets, how, made, crops.way_for(PLATFORM), kept)
