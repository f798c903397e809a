"""Predicted times by hand, and what lies in memory beside a program."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import pytest

from r3jax import mesh as mesh_lib
from r3jax.plan import chips, programs, topology
from r3jax.plan.collectives import Collective
from r3jax.plan.costs import Costs
from r3jax.plan.times import Times, of_step, times
from r3jax.run import experiment, plan

ROOT = pathlib.Path(__file__).parents[2]
SLICE = chips.slice_of("v5e:4x8")  # no ring closes
LINK = SLICE.chip.link


@dataclasses.dataclass(frozen=True)
class Device:
    coords: tuple[int, int, int]


DEVICES = [Device((x, y, 0)) for y in range(8) for x in range(4)]


def exchanged(kind: str, hidden: bool = False, group: tuple[int, ...] = ()) -> Times:
    """Of two gigabytes, once, beside nothing."""
    one = Collective(kind, 2 * 10**9, group, 1.0, hidden)
    return times(Costs(0.0, 0.0, (one,)), SLICE, DEVICES)


def test_what_is_exchanged_goes_around_rings():
    around = 2e9 * 31 / 32 / (2 * LINK)  # two open rings
    assert exchanged("all-gather").waiting == pytest.approx(around)
    assert exchanged("reduce-scatter").waiting == pytest.approx(around)
    assert exchanged("all-reduce").waiting == pytest.approx(2 * around)
    assert exchanged("all-to-all").waiting == pytest.approx(2e9 * 8 / 4 / LINK)
    assert exchanged("collective-permute", group=(0, 1)).waiting == pytest.approx(2e9 / LINK)
    assert exchanged("all-gather", group=(0, 1, 2, 3)).waiting == pytest.approx(1.5e9 / LINK)


def test_hidden_exchanges_cost_what_is_longer_than_computing():
    assert exchanged("all-gather", hidden=True).waiting == 0
    assert Times(3.0, 1.0, 2.0, 0.5).total == 3.5 and Times(3.0, 1.0, 2.0, 0.5).collective == 0.5
    assert Times(3.0, 1.0, 4.0, 0.5).total == 4.5 and Times(3.0, 1.0, 4.0, 0.5).collective == 1.5


def test_a_step_runs_the_largest_program_of_each_kind():
    def program(name: str, flops: float | None) -> programs.Program:
        costs = None if flops is None else Costs(flops, 0.0, ())
        return programs.Program(name, programs.Memory(0, 0, 0), costs, 0.0)

    peak = SLICE.chip.flops
    known = [program("a 1", peak), program("a 2", 3 * peak), program("b", peak), program("c", None)]
    found = of_step(known, {"a": 2, "c": 5}, SLICE, DEVICES)
    assert found == {"a": Times(6.0, 0.0, 0.0, 0.0)}


def test_what_lies_beside_a_program_is_counted_once():
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(fsdp=8), jax.devices())
    split = mesh_lib.sharding(("embed",), (8192,), mesh, mesh_lib.UPDATE)
    held, other = (jax.ShapeDtypeStruct((8192,), jnp.float32, sharding=split) for _ in range(2))
    compiler = programs.Compiler(mesh, {})
    compiler.take("reads held", jax.jit(lambda x: x * 2), held)
    compiler.take("reads other", jax.jit(lambda x: x * 2), other)
    compiler.take("drops held", jax.jit(lambda x, y: y * 2), held, other)
    compiler.beside(held)
    part = 8192 * 4 // 8
    assert [one.needs.arguments for one in compiler.programs] == [part] * 3
    assert [one.needs.resident for one in compiler.programs] == [0, part, part]
    compiler.beside((held, other), {"reads"})
    assert [one.needs.resident for one in compiler.programs] == [part, part, part]


@dataclasses.dataclass(frozen=True)
class Found:
    headroom: float


@pytest.mark.parametrize("name, fits_until", [("rgrpo_tpu", 64), ("sft_tpu", 128)])
def test_a_batch_is_doubled_until_it_does_not_fit(name, fits_until, monkeypatch):
    config = experiment.load(f"{ROOT}/configs/{name}.py:v5e-32")
    tried = []

    def planned(changed, topology_name, tell):
        _, record = plan._read(changed)  # every size is a config that can be read
        tried.append(record)
        return Found(1 - record.together / fits_until)

    monkeypatch.setattr(plan, "plan", planned)
    monkeypatch.setattr(topology, "devices", lambda where: jax.devices() * 4)
    field, fits = plan.suggest(config, "v5e:4x8", lambda program: None)
    assert field == ("rollout.questions" if name == "rgrpo_tpu" else "batch_size")
    sizes = [32 << n for n in range(len(tried))]
    assert list(fits) == sizes and sizes[-1] == 2 * fits_until
    rows = [one.buckets.images[0].rows for one in tried]
    assert rows == [rows[0] << n for n in range(len(tried))] and rows[0] > 0


def test_no_compiler_and_no_such_slice_have_advice_of_their_own(monkeypatch):
    def refuse(**options):
        raise RuntimeError("nothing there")

    monkeypatch.setattr(topology.topologies, "get_topology_desc", refuse)
    for there, advice in [(object(), "choose a slice that is sold"), (None, "the extra tpu")]:
        monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name, _=there: _)
        with pytest.raises(ValueError, match=f"v5e:4x8 .nothing there.: {advice}"):
            topology.devices(SLICE)
