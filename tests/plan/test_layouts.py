"""How weights and arguments lie on a slice: as the golden files say, one for each TPU config.

Where a change is meant, `launch/plan.py --layouts` writes one anew.
"""

import importlib.util
import pathlib

import pytest

from r3jax.run import experiment, plan

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "layouts"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="no compiler of TPUs: make test fetches it, the extra tpu of setup.py has it",
)
@pytest.mark.parametrize("name", ["rgrpo_tpu", "sft_tpu"])
def test_every_argument_lies_where_the_golden_file_says(name):
    config = experiment.load(f"{ROOT / 'configs' / name}.py:v5e-32")
    found = "\n".join(plan.layouts(config, "v5e:4x8")) + "\n"
    golden = GOLDEN / f"{name}-v5e-32.txt"
    assert found == golden.read_text()
    weights = [line for line in found.splitlines() if "kernel'] float32" in line]
    assert weights and all("fsdp" in line for line in weights)
