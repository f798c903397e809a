"""The released sizes: numbers of parameters, and a named axis for every axis of every weight."""

import jax
import pytest
from jax.sharding import PartitionSpec

from r3jax.model import config, qwen

RELEASED = {
    "3B": 3_754_622_976,
    "7B": 8_292_166_656,
    "32B": 33_452_718_336,
    "72B": 73_410_777_344,
}


@pytest.mark.parametrize("size", RELEASED)
def test_a_released_size_has_the_released_number_of_parameters(size):
    assert qwen.count_params(config.SIZES[size]) == RELEASED[size]


def test_every_axis_of_every_weight_has_a_name():
    abstract = qwen.abstract_params(config.SIZES["7B"])
    axes = qwen.logical_axes(config.SIZES["7B"])
    is_spec = {"is_leaf": lambda x: isinstance(x, PartitionSpec)}
    named = dict(jax.tree_util.tree_leaves_with_path(axes, **is_spec))
    for path, leaf in jax.tree_util.tree_leaves_with_path(abstract):
        names = named.pop(path)
        where = jax.tree_util.keystr(path)
        assert len(names) == leaf.ndim and all(names), f"{where}: {names} for {leaf.shape}"
        assert leaf.dtype == "float32", where
        assert ("layers" in names) == ("layers" in where or "blocks" in where), where
    assert not named


def test_random_parameters_have_the_abstract_shapes():
    tiny = config.ModelConfig(
        config.TextConfig(64, 32, 2, 4, 2, 48, 8, mrope_section=(1, 1, 2)),
        config.VisionConfig(2, 16, 2, 24, 32, (1,)),
        image_token_id=60,
    )
    key = jax.random.key(0, impl="rbg")  # its program compiles in a third of the time
    params = qwen.init_params(tiny, key)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    assert shapes == qwen.abstract_params(tiny)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: config.VisionConfig(window_size=224), "window_size is 224; every .* has 112"),
        (lambda: config.VisionConfig(full_attention_blocks=(32,)), r"lie within 0..31"),
        (lambda: config.VisionConfig(num_heads=7), "num_heads 7 must divide hidden_size 1280"),
        (lambda: config.TextConfig(num_kv_heads=3), "num_kv_heads 3 must divide num_heads 28"),
        (lambda: config.TextConfig(mrope_section=(16, 24, 20)), "half of head_dim 128, found 60"),
        (
            lambda: config.ModelConfig(vision=config.VisionConfig(out_hidden_size=5)),
            "out_hidden_size 5 must equal the text hidden_size 3584",
        ),
    ],
)
def test_numbers_that_do_not_fit_together_are_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()
