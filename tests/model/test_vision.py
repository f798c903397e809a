"""Features of an image depend on the image alone: not on its bucket, row or neighbours."""

import jax
import numpy as np
import pytest

from tests.model import sequences
from tests.model.test_golden import tiny

PICTURES = [
    sequences.draw(28 * rows, 28 * columns, seed=rows)
    for rows, columns in [(5, 7), (1, 1), (4, 4), (2, 9)]
]


@pytest.fixture(scope="module")
def alone():
    """Features of each picture, one to a row."""
    return sequences.features(*tiny("untied"), PICTURES, rows=4, windows=4)


@pytest.mark.parametrize("rows, windows", [(1, 12), (2, 9), (6, 5)])
def test_packed_images_have_the_features_of_images_alone(alone, rows, windows):
    packed = sequences.features(*tiny("untied"), PICTURES, rows=rows, windows=windows)
    for found, expected in zip(packed, alone):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_neighbour_in_the_row_changes_nothing(alone):
    inverted = [PICTURES[0], *(255 - picture for picture in PICTURES[1:])]
    found = sequences.features(*tiny("untied"), inverted, rows=1, windows=12)
    np.testing.assert_allclose(found[0], alone[0], rtol=1e-5, atol=1e-5)
    assert np.abs(found[2] - alone[2]).max() > 0.1


def test_padding_gets_and_gives_no_gradient():
    model, params = tiny("untied")
    batch, index = sequences.arrange(PICTURES[:1], windows=6)

    def total(values):
        table = model.apply({"params": params}, batch._replace(patches=values), method="encode")
        return (table[index[0]] ** 2).sum()

    gradient = np.asarray(jax.jit(jax.grad(total))(batch.patches))
    assert np.isfinite(gradient).all()
    assert not gradient[batch.segment == 0].any()
    assert (np.abs(gradient[batch.segment > 0]).sum(-1) > 0).all()
