"""What training changes: parameters, optimizer state, step; and the optimizer that changes them."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from r3jax.arrays import Array
from r3jax.model import lora
from r3jax.model.config import LoraConfig

SCHEDULES = ("constant", "cosine", "linear")


class TrainState(NamedTuple):
    """params: plain tree; opt_state: optax's; step int32: updates done."""

    params: dict
    opt_state: optax.OptState
    step: Array


class Optimizer(NamedTuple):
    """An optax transformation, and which leaves of the parameters, in the order of the tree, it
    changes: the others need no gradient."""

    init: Callable
    update: Callable
    changes: tuple[bool, ...]

    def chosen(self, tree: dict) -> list:
        """Those of a tree's leaves, such as parameters or their shardings, that it changes."""
        pairs = zip(jax.tree.leaves(tree), self.changes, strict=True)
        return [leaf for leaf, changes in pairs if changes]

    def merged(self, chosen: list, tree: dict) -> dict:
        """The tree with other leaves where it changes them: the opposite of `chosen`."""
        leaves, structure = jax.tree.flatten(tree)
        given = iter(chosen)
        pairs = zip(leaves, self.changes, strict=True)
        return structure.unflatten([next(given) if changes else leaf for leaf, changes in pairs])


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with clipping by global norm and a schedule with linear warm-up.

    `schedule` falls from `learning_rate` to `final_fraction` of it over `total_steps`. `frozen`
    names the parts of the tree ("vision", "vision/merger", "text/embed") that never change: they
    have no moments. Where a model has adapters, all else is frozen.
    """

    learning_rate: float = 1e-6
    schedule: str = "constant"
    warmup_steps: int = 0
    total_steps: int = 0
    final_fraction: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    frozen: tuple[str, ...] = ("vision",)

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, found {self.schedule!r}")
        if self.schedule != "constant" and self.total_steps <= self.warmup_steps:
            raise ValueError(
                f"schedule {self.schedule!r} needs total_steps above warmup_steps, found "
                f"{self.total_steps} and {self.warmup_steps}"
            )


def learning_rate(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the step."""
    rest = config.total_steps - config.warmup_steps
    peak, last = config.learning_rate, config.learning_rate * config.final_fraction
    main = {
        "constant": lambda: optax.constant_schedule(peak),
        "linear": lambda: optax.linear_schedule(peak, last, rest),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest, config.final_fraction),
    }[config.schedule]()
    if not config.warmup_steps:
        return main
    warm = optax.linear_schedule(0.0, peak, config.warmup_steps)
    return optax.join_schedules([warm, main], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, params) -> Optimizer:
    """Returns the optimizer for a tree of parameters (arrays or shapes).

    Raises ValueError if a name in `frozen` matches nothing.
    """
    adamw = optax.adamw(
        learning_rate(config),
        config.b1,
        config.b2,
        config.eps,
        weight_decay=config.weight_decay,
        mask=_decays,
    )
    trained = optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
    labels = _labels(config.frozen, params)
    both = optax.partition({"trained": trained, "frozen": optax.set_to_zero()}, labels)
    changes = tuple(label == "trained" for label in jax.tree.leaves(labels))
    return Optimizer(both.init, both.update, changes)


def _decays(params) -> dict:
    """Which leaves decay: matrices, told by name, since scanned layers stack vectors too."""

    def decays(path, _) -> bool:
        names = tuple(key.key for key in path)
        return names[-1] in ("kernel", "embedding") or lora.is_adapter(names)

    return jax.tree_util.tree_map_with_path(decays, params)


def _labels(frozen: tuple[str, ...], params) -> dict:
    matched, adapted = set(), bool(lora.adapters(params))

    def label(path, _):
        names = tuple(str(key.key) for key in path)
        name = "/".join(names)
        hits = [part for part in frozen if (name + "/").startswith(part + "/")]
        matched.update(hits)
        return "frozen" if hits or (adapted and not lora.is_adapter(names)) else "trained"

    labels = jax.tree_util.tree_map_with_path(label, params)
    if unknown := set(frozen) - matched:
        raise ValueError(
            f"frozen names {sorted(unknown)} match no parameter; the top of the tree has "
            f"{sorted(params)}"
        )
    if "trained" not in jax.tree.leaves(labels):
        raise ValueError(f"frozen is {frozen}, which leaves nothing to learn: name fewer parts")
    return labels


def init_state(params, optimizer: Optimizer) -> TrainState:
    """Returns the state before the first update."""
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))


def check_lora(adapted: LoraConfig | None, given: str, config: OptimizerConfig) -> None:
    """Raises ValueError where a vision tower is to learn that has no adapters, and where adapters
    are `given` to a model without any."""
    if adapted is None and given:
        raise ValueError(f"adapters is {given!r}, but lora is None: say what they are like")
    if adapted is not None and not is_frozen(config, "vision"):
        raise ValueError(
            f"lora: adapters are the decoder's, but optimizer.frozen is {config.frozen}: name "
            "'vision' in it, or leave lora out"
        )


def lasting(state: TrainState) -> TrainState:
    """What a checkpoint holds of a state: of parameters the adapters alone, where there are any."""
    return state._replace(params=lora.lasting(state.params))


def restored(kept: TrainState, state: TrainState) -> TrainState:
    """A state as it was, of which a checkpoint has `kept` this, beside the base of `state`."""
    return kept._replace(params=lora.with_adapters(state.params, kept.params))


def is_frozen(config: OptimizerConfig, part: str) -> bool:
    """Whether a whole part of the tree, such as "vision", never changes."""
    return any((part + "/").startswith(name + "/") for name in config.frozen)
