"""Checkpoints of a run: exact, whole, and refused when they are of another model."""

import resource
import signal
import subprocess
import sys
import time
from typing import Any

import flax.struct
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r3jax.checkpoint.errors import CheckpointError
from r3jax.checkpoint.store import Store


class State(flax.struct.PyTreeNode):
    """What a run's state looks like."""

    params: Any
    opt_state: Any
    step: jax.Array
    key: jax.Array


def make_state(seed: int = 0, width: int = 40) -> State:
    keys = jax.random.split(jax.random.key(seed), 2)
    params = {
        "text": {"kernel": jax.random.normal(keys[0], (16, width))},
        "vision": {"scale": jnp.arange(5, dtype=jnp.bfloat16)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    return State(params, optimizer.init(params), jnp.int32(seed), keys[1])


def assert_same(ours: State, theirs: State) -> None:
    """Structure, types, dtypes and bits agree."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and isinstance(b, jax.Array)
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_everything_comes_back_bit_for_bit(tmp_path):
    dataset = grain.MapDataset.range(100).shuffle(seed=3).to_iter_dataset().batch(4)
    stream = iter(dataset)
    next(stream), next(stream)
    with Store(tmp_path) as store:
        store.save(7, make_state(7), stream.get_state(), {"stage": "sft"})
    expected = next(stream)
    with Store(tmp_path) as store:
        state, iterator_state, meta = store.restore(None, jax.eval_shape(make_state))
    assert_same(make_state(7), state)
    assert meta == {"stage": "sft"}
    resumed = iter(dataset)
    resumed.set_state(iterator_state)
    np.testing.assert_array_equal(next(resumed), expected)


def test_training_that_goes_on_does_not_reach_the_save_behind_it(tmp_path):
    """The next steps reuse the memory of the state (donation) while it is being written."""
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = advance({"params": {"a": jnp.zeros((1000, 1000)), "b": jnp.zeros(3)}})
    abstract = jax.eval_shape(lambda: state)
    with Store(tmp_path, keep=None) as store:
        for step in range(1, 4):
            store.save(step, state)
            for _ in range(5):
                state = advance(state)
        store.wait()
        for step in range(1, 4):
            for leaf in jax.tree.leaves(store.restore(step, abstract).state):
                np.testing.assert_array_equal(leaf, 5 * step - 4)


@pytest.mark.parametrize("iterator_state", [None, b"\x00\xff\n", {"a": [1, {"b": None}]}])
def test_iterator_state_of_any_kind(tmp_path, iterator_state):
    with Store(tmp_path) as store:
        store.save(0, {"params": {"a": jnp.ones(3)}}, iterator_state)
        store.wait()
        restored = store.restore(0, {"params": {"a": jnp.zeros(3)}})
    assert restored.iterator_state == iterator_state
    assert type(restored.iterator_state) is type(iterator_state)


def test_a_lost_iterator_state_is_an_error(tmp_path):
    with Store(tmp_path) as store:
        store.save(0, make_state(), {"at": 3})
        store.wait()
        (tmp_path / "0/iterator/iterator.json").unlink()
        with pytest.raises(CheckpointError, match=r"has no iterator.json: the checkpoint is dam"):
            store.restore(0, jax.eval_shape(make_state))


def test_keeps_the_newest_and_refuses_the_same_step_twice(tmp_path):
    with Store(tmp_path, keep=2) as store:
        for step in (1, 5, 9):
            store.save(step, make_state(step))
        store.wait()
        assert store.steps() == (5, 9) and store.latest_step() == 9
        with pytest.raises(CheckpointError, match="already holds step 9"):
            store.save(9, make_state())
        with pytest.raises(CheckpointError, match=r"holds no step 1; it holds \[5, 9\]"):
            store.restore(1, jax.eval_shape(make_state))
        assert_same(make_state(5), store.restore(5, jax.eval_shape(make_state)).state)


def test_empty_and_missing_directories(tmp_path):
    with Store(tmp_path / "new") as store:
        assert store.latest_step() is None and store.steps() == ()
        with pytest.raises(CheckpointError, match="holds no checkpoint"):
            store.restore(None, jax.eval_shape(make_state))
    with pytest.raises(CheckpointError, match="is not a directory of checkpoints"):
        Store(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_checkpoint_of_another_model_names_what_differs(tmp_path):
    with Store(tmp_path) as store:
        store.save(3, make_state())
        store.wait()
        other = jax.eval_shape(lambda: make_state(width=41))
        other.params["text"]["bias"] = jax.ShapeDtypeStruct((41,), jnp.float32)
        other.params["vision"]["scale"] = jax.ShapeDtypeStruct((5,), jnp.float32)
        with pytest.raises(CheckpointError, match="of another model or optimizer") as caught:
            store.restore(3, other)
        assert {
            "params/text/kernel": "expected float32 [16, 41], found float32 [16, 40]",
            "params/text/bias": "expected float32 [41], found nothing",
            "params/vision/scale": "expected float32 [5], found bfloat16 [5]",
        }.items() <= dict(caught.value.problems).items()
        with pytest.raises(
            CheckpointError, match=r"expected shape \[16, 41\], found shape \[16, 4"
        ):
            store.restore_params(3, {"text": {"kernel": jnp.ones((16, 41))}})


def test_parameters_alone_in_another_dtype_from_a_directory_in_use(tmp_path):
    state = make_state()
    with Store(tmp_path) as writer:
        writer.save(1, state)
        writer.wait()
        (tmp_path / "2.orbax-checkpoint-tmp").mkdir()  # being written by another process
        with Store(tmp_path, read_only=True) as reader:
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), state.params
            )
            params = reader.restore_params(None, abstract)
        assert (tmp_path / "2.orbax-checkpoint-tmp").exists()
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
        assert isinstance(b, np.ndarray)
        np.testing.assert_array_equal(a.astype(jnp.bfloat16), b)


def test_restores_into_the_shardings_asked_for(tmp_path):
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("fsdp", "tensor"))
    sharding = NamedSharding(mesh, PartitionSpec("fsdp", "tensor"))
    saved = {"params": {"a": jnp.arange(64.0).reshape(8, 8)}}
    abstract = {"params": {"a": jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=sharding)}}
    with Store(tmp_path) as store:
        store.save(0, saved)
        store.wait()
        whole, part = store.restore(0, abstract).state, store.restore_params(0, abstract["params"])
    for array in (whole["params"]["a"], part["a"]):
        assert array.sharding == sharding
        np.testing.assert_array_equal(array, saved["params"]["a"])


# Orbax closes the event loop of a failed save while TensorStore still reports to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("on_host", [False, True], ids=["device arrays", "NumPy arrays"])
def test_full_disk_is_explained_and_the_last_checkpoint_stays(tmp_path, on_host):
    """A limit on file size stands for the full disk: the system call itself fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = Store(tmp_path, keep=1)  # the old one goes only when the new one is whole
    store.save(1, make_state())
    store.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            CheckpointError, match=r"failed: .*File too large[\s\S]*: \[1\]. If the"
        ):
            state = make_state(width=10_000)
            store.save(2, {"params": jax.device_get(state.params)} if on_host else state)
            store.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Store(tmp_path) as store:
        assert store.steps() == (1,)
        assert_same(make_state(), store.restore(None, jax.eval_shape(make_state)).state)
        assert not list(tmp_path.glob("*tmp*"))


KILLED = """
import sys
import jax
import jax.numpy as jnp
from r3jax.checkpoint.store import Store

store = Store(sys.argv[1])
store.save(1, {"params": {"a": jnp.arange(6.0)}}, {"at": 1})
store.wait()
print("first", flush=True)
store.save(2, {"params": {"a": jax.random.uniform(jax.random.key(0), (6000, 6000))}}, {"at": 2})
print("second", flush=True)
store.wait()
"""


def test_kill_while_saving_leaves_the_checkpoint_before(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdout.readline() == b"first\n"
    while not list(tmp_path.glob("2.*")):
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert [path.name for path in tmp_path.glob("2*")] == ["2.orbax-checkpoint-tmp"]
    with Store(tmp_path) as store:
        assert store.steps() == (1,)
        state, iterator_state, _ = store.restore(None, {"params": {"a": jnp.zeros(6)}})
        np.testing.assert_array_equal(state["params"]["a"], np.arange(6.0))
        assert iterator_state == {"at": 1}
        store.save(2, state)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}
