"""Checkpoints of a run: Orbax writes them in the background, whole or not at all.

A checkpoint holds the state (any tree: parameters, optimizer, step, key), the place of the data
iterator, and `meta`, a dict of JSON values. Orbax writes into a temporary directory and renames it
when all is there, so a killed run leaves only whole checkpoints; remains are removed at the start.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from r3jax import paths
from r3jax.checkpoint import host_arrays
from r3jax.checkpoint.errors import CheckpointError, listed
from r3jax.checkpoint.iterator_state import (
    IteratorState,
    IteratorStateHandler,
    IteratorStateRestore,
    IteratorStateSave,
)

PyTree = Any


class Restored(NamedTuple):
    """A checkpoint as it was saved."""

    state: PyTree
    iterator_state: IteratorState
    meta: Mapping[str, Any]


class Store:
    """The checkpoints in one directory; the newest `keep` stay (None: all).

    Use it as a context manager, or call `close`, so that the last save ends before the program.
    """

    def __init__(self, directory: str | Path, keep: int | None = 2, read_only: bool = False):
        """Opens a directory; `read_only` leaves one alone that another process may be writing."""
        self.directory = paths.absolute(directory)
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"{self.directory} is not a directory of checkpoints")
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
        )
        handlers = {
            "state": ocp.PyTreeCheckpointHandler(type_handler_registry=host_arrays.registry()),
            "iterator": IteratorStateHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self.directory, item_handlers=handlers, options=options
        )

    def save(
        self,
        step: int,
        state: PyTree,
        iterator_state: IteratorState = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Copies the state off the devices and returns; writing goes on in the background.

        NumPy leaves are not copied as a whole: they are on disk when this returns.

        Raises: CheckpointError if `step` is there already, or if this or the save before failed.
        """
        if step in self.steps():
            raise CheckpointError(
                f"{self.directory} already holds step {step}; name another directory"
            )
        with self._failures_explained():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    iterator=IteratorStateSave(iterator_state),
                    meta=ocp.args.JsonSave(dict(meta or {})),
                ),
                force=True,  # when to save is the caller's decision
            )

    def restore(self, step: int | None, abstract_state: PyTree) -> Restored:
        """Reads a checkpoint back, bit for bit, into the shardings of `abstract_state`.

        `step` None is the newest. `abstract_state` is a tree of jax.ShapeDtypeStruct (or arrays);
        leaves without a sharding go to the first device.

        Raises: CheckpointError if there is none, or if it is of another model.
        """
        step = self._existing(step)
        self._check(step, _named_leaves(abstract_state), self._stored(step))
        found = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=_restore_args(_placed(abstract_state)),
                iterator=IteratorStateRestore(),
                meta=ocp.args.JsonRestore(),
            ),
        )
        return Restored(found["state"], found["iterator"], found["meta"])

    def restore_params(self, step: int | None, abstract_params: PyTree) -> PyTree:
        """Reads `state.params` alone, in the dtypes and shardings of `abstract_params`.

        Leaves without a sharding come as NumPy arrays and never touch a device.

        Raises: CheckpointError if there is no checkpoint, or if its parameters are others.
        """
        step = self._existing(step)
        wanted = {"params": abstract_params}
        stored = {k: v for k, v in self._stored(step).items() if k.startswith("params/")}
        self._check(step, _named_leaves(wanted), stored, with_dtype=False)
        args = ocp.args.Composite(state=_restore_args(wanted, partial=True))
        return self._manager.restore(step, args=args)["state"]["params"]

    def meta(self, step: int | None) -> Mapping[str, Any]:
        """Reads `meta` alone.

        Raises: CheckpointError if there is no checkpoint.
        """
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        return self._manager.restore(self._existing(step), args=args)["meta"]

    def params_dtype(self, step: int | None) -> str:
        """Returns the dtype that the parameters of a checkpoint are stored in, e.g. "float32"."""
        stored = self._stored(self._existing(step))
        dtypes = {str(v.dtype) for k, v in stored.items() if k.startswith("params/")}
        if len(dtypes) != 1:
            raise CheckpointError(f"parameters in {self.directory} have the dtypes {dtypes}")
        return dtypes.pop()

    def latest_step(self) -> int | None:
        """Returns the newest whole step, or None; one that is still being saved does not count."""
        return max(self.steps(), default=None)

    def steps(self) -> tuple[int, ...]:
        """Returns all whole steps, oldest first."""
        # The manager's own list holds the step being saved and misses those it will then delete.
        return tuple(sorted(ocp.utils.checkpoint_steps(self.directory)))

    def wait(self) -> None:
        """Waits until the save in the background is whole on disk.

        Raises: CheckpointError if it failed.
        """
        with self._failures_explained():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of the directory."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.directory} holds no checkpoint")
        if step is not None and step not in steps:
            raise CheckpointError(f"{self.directory} holds no step {step}; it holds {list(steps)}")
        return steps[-1] if step is None else step

    def _stored(self, step: int) -> dict[str, Any]:
        return _named_leaves(self._manager.item_metadata(step)["state"].tree)

    def _check(self, step: int, expected, stored, with_dtype: bool = True) -> None:
        problems = differences(expected, stored, with_dtype)
        if problems:
            raise listed(
                f"step {step} in {self.directory} is a checkpoint of another model or optimizer",
                problems,
                "Use the config that the checkpoint was trained with, or another directory.",
            )

    @contextlib.contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore's are not OSErrors
            whole = self.steps()
            raise CheckpointError(
                f"saving a checkpoint in {self.directory} failed: {error}\n"
                f"Whole and restorable: {list(whole) if whole else 'none'}. If the disk is full, "
                "free some space or keep fewer checkpoints, then start again: the run resumes there"
            ) from error


def differences(
    expected: Mapping[str, Any], stored: Mapping[str, Any], with_dtype: bool = True
) -> list[tuple[str, str]]:
    """Returns (path, what differs) for every leaf that is not the same in both."""
    problems = []
    for path in sorted(expected.keys() | stored.keys()):
        ours, theirs = (
            _describe(leaves[path], with_dtype) if path in leaves else "nothing"
            for leaves in (expected, stored)
        )
        if ours != theirs:
            problems.append((path, f"expected {ours}, found {theirs}"))
    return problems


def _describe(leaf: Any, with_dtype: bool) -> str:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)  # keys are stored as their words
    return f"{leaf.dtype if with_dtype else 'shape'} {list(leaf.shape)}"


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves by path: "params/text/norm/scale"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _placed(abstract: PyTree) -> PyTree:
    """Gives a device to every leaf that has no sharding."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        on_device = isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and leaf.sharding is not None
        sharding = leaf.sharding if on_device else device
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, abstract)


def _restore_args(abstract: PyTree, partial: bool = False) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(
        abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=partial,
    )
