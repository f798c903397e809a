"""What the text of compiled programs tells: how often things run, FLOPs, bytes, collectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from r3jax import mesh as mesh_lib
from r3jax.plan import collectives, costs, hlo

N = 128


def text(function, *shapes, **options) -> str:
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function, **options).lower(*given).compile().as_text()


def chain(x, weights):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]


def test_a_loop_counts_as_often_as_it_turns_and_reads_one_slice_each_time():
    found = costs.of_program(text(chain, (64, N), (5, N, N)))
    assert found.flops == 5 * 2 * 64 * N * N
    least = 4 * (5 * N * N + 5 * 2 * 64 * N)  # each weight once; what goes in and out each time
    assert least < found.bytes < 3 * least
    assert found.collectives == ()


IN_FAST_MEMORY = """HloModule m, is_scheduled=true

ENTRY %main (w: f32[128,128], x: f32[128]) -> f32[128] {
  %w = f32[128,128]{1,0} parameter(0)
  %x = f32[128]{0} parameter(1)
  %start = (f32[128,128]{1,0:SPACE}, f32[128,128]{1,0}, u32[]{:S(2)}) copy-start(%w)
  %done = f32[128,128]{1,0:SPACE} copy-done(%start)
  ROOT %y = f32[128]{0} dot(%done, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""


@pytest.mark.parametrize("space, reads", [("S(1)", 1), ("S(3)", 1), ("T(8,128)", 3)])
def test_what_lies_in_fast_memory_is_not_read_from_main_memory(space, reads):
    """Weights that are fetched ahead are read once; copied within main memory, they are written and
    read again."""
    found = costs.of_program(IN_FAST_MEMORY.replace("SPACE", space))
    assert found.bytes == 4 * (reads * N * N + 2 * N)


def test_loops_in_loops_multiply_and_their_gradients_count():
    def twice(x, weights):
        return jax.lax.fori_loop(0, 3, lambda _, y: chain(y, weights), x).sum()

    once = 5 * 2 * 64 * N * N
    assert costs.of_program(text(twice, (64, N), (5, N, N))).flops == 3 * once
    both = text(jax.grad(twice, argnums=(0, 1)), (64, N), (5, N, N))
    assert costs.of_program(both).flops == 3 * 3 * once


def test_a_loop_that_nobody_can_count_turns_as_often_as_it_is_told():
    def until(x, w):
        return jax.lax.while_loop(
            lambda y: (y.sum() < 9) & (y.max() < 3),
            lambda y: jax.lax.while_loop(lambda z: z.min() < 0, lambda z: z @ w, y),
            x,
        )

    found = text(until, (N, N), (N, N))
    product = 2 * N**3
    assert costs.of_program(found).flops == product
    assert costs.of_program(found, unknown=(2, 7)).flops == 14 * product


def test_a_condition_counts_its_longest_branch():
    def either(x, w):
        return jax.lax.cond(x.sum() > 0, lambda y: jnp.tanh(y @ w) @ w, lambda y: y, x)

    assert costs.of_program(text(either, (N, N), (N, N))).flops == 2 * 2 * N**3


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 1, 4)], ids=str)
def test_collectives_are_counted_with_their_bytes_and_the_devices_of_a_group(sizes):
    mesh = mesh_lib.make_mesh(mesh_lib.MeshConfig(*sizes), jax.devices())
    axis = max(mesh.shape, key=mesh.shape.get)
    many = mesh.shape[axis]

    def placed(*spec):
        return NamedSharding(mesh, PartitionSpec(*spec))

    partial = text(
        lambda x, w: x @ w,
        (N, N),
        (N, N),
        in_shardings=(placed(None, axis), placed(axis, None)),
        out_shardings=placed(),
    )
    (summed,) = costs.of_program(partial).collectives
    assert (summed.kind, summed.bytes, summed.times) == ("all-reduce", 4 * N * N, 1)
    assert len(summed.group) == many and len(set(np.diff(summed.group))) == 1

    gathered = text(lambda x: x * 2, (N, N), in_shardings=placed(axis), out_shardings=placed())
    found = costs.of_program(gathered)
    assert found.collective_bytes == {"all-gather": 4 * N * N}
    assert len(found.collectives[0].group) == many


def test_groups_are_read_in_every_form_that_the_compiler_writes():
    first = collectives._first_group
    assert first("replica_groups={{0,2},{1,3}}, dimensions={0}") == (0, 2)
    assert first("replica_groups=[2,4]<=[8], x") == (0, 1, 2, 3)
    assert first("replica_groups=[4,2]<=[2,4]T(1,0), x") == (0, 4)
    assert first("replica_groups=mesh['a'=2,'b'=4] {'a'}, x") == (0, 4)
    assert first("replica_groups=mesh['a'=2,'b'=4] {'a','b'}, x") == tuple(range(8))
    ordered = "replica_groups=mesh['a'=1,'b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}, x"
    assert first(ordered) == (0, 1, 2, 3)
    assert first("source_target_pairs={{3,0},{0,3}}") == (3, 0)


@pytest.mark.parametrize(
    "line, wanted",
    [
        # [64, 128] x [128, 32], as a TPU writes it.
        ("f32[64,32] convolution(%x, %w), dim_labels=bf_io->bf", 2 * 64 * 128 * 32),
        # A batch of 8 such, which its window goes over: only its own place of it meets anything.
        (
            "f32[8,64,32] convolution(%xs, %ws), window={size=8 stride=7 pad=0_0 lhs_dilate=8}, "
            "dim_labels=0bf_0io->0bf",
            8 * 2 * 64 * 128 * 32,
        ),
    ],
)
def test_products_that_are_written_as_convolutions_count_what_meets(line, wanted):
    given = (
        "%x = f32[64,128] parameter(0)",
        "%w = f32[128,32] parameter(1)",
        "%xs = f32[8,64,128] parameter(2)",
        "%ws = f32[8,128,32] parameter(3)",
        f"ROOT %y = {line}",
    )
    program = "ENTRY %f () -> f32[1] {\n  " + "\n  ".join(given) + "\n}"
    assert costs.of_program(program).flops == wanted


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="expected the text of a compiled program"):
        hlo.parse("nothing")
