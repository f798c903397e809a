"""Both sides of the plain model set themselves up from one directory and do their work."""

import pytest

from benchmarks import model


@pytest.mark.slow
@pytest.mark.oracle
def test_both_sides_do_the_same_work_and_the_ratio_is_theirs():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    result = model.run(repetitions=1, only=["vision", "prefill"])
    assert [row.work for row in result.rows] == ["vision", "prefill"]
    for row in result.rows:
        assert set(row.timings) == {"Transformers", "r3jax"}
        assert result.ratios[row.work] == row.ratio("Transformers") > 0
    assert {"jax", "torch", "transformers"} <= set(result.about)


def test_an_unknown_work_is_named():
    with pytest.raises(ValueError, match=r"no work is called \['decode'\]; expected some of"):
        model.run(only=["decode"])
