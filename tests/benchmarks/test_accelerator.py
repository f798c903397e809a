"""The script for accelerators, on a tiny model: every row is there, and its rules hold."""

import pytest

from benchmarks import accelerator, devices, page
from benchmarks.budget import Budget, Line, markdown
from benchmarks.devices import Peak
from benchmarks.timing import Timing
from r3jax.model.config import SIZES
from tests import tiny

PEAK = Peak(flops=1e12, bandwidth=1e11)
GIB = 2**30


@pytest.mark.slow
def test_every_row_is_measured_and_has_its_share():
    budget, said = Budget(600), []
    config = tiny.model().config
    found = accelerator.run(
        config, PEAK, budget, dtype="float32", repetitions=1, looks="script", say=said.append
    )
    assert budget.left_out == []
    assert [line.work for line in found] == [
        "vision",
        "prefill",
        "decode",
        "looks",
        "looks, placed",
        "update",
    ]
    shares = {line.work: line.share for line in found}
    assert shares.pop("looks") is shares.pop("looks, placed") is None
    assert all(0 < share < 1 for share in shares.values()), shares
    assert said == [line.markdown() for line in found]


def test_what_there_is_no_time_for_is_named():
    budget = Budget(0)
    assert accelerator.run(tiny.model().config, PEAK, budget, dtype="float32") == []
    assert budget.left_out == [
        f"{name} (no time)" for name in ("prefill", "decode", "looks", "update")
    ]
    assert "left out: prefill (no time), decode" in str(budget)


def test_a_line_says_milliseconds_speed_and_share():
    line = Line("decode", "2 steps", Timing((0.01, 0.02, 0.04)), 80, "tokens", 0.5, "bandwidth")
    expected = "| decode | 2 steps | 20.00 (10.00-40.00) | 4,000 tokens/s | 50.0% of bandwidth |"
    assert markdown([line]).splitlines()[-1] == expected


@pytest.mark.parametrize(
    "size, gib, expected",
    [
        ("3B", 76, ("bfloat16", "dots", 8)),
        ("3B", 139, ("float32", "dots", 8)),
        ("7B", 76, ("bfloat16", "full", 8)),
        ("7B", 8, ("bfloat16", "full", 1)),
        ("3B", None, ("float32", "dots", 8)),
    ],
)
def test_the_update_takes_what_fits(size, gib, expected):
    assert accelerator.choose_update(SIZES[size], gib and gib * GIB) == expected


def test_an_update_counts_prompts_once():
    tokens, pairs = accelerator.update_tokens(2)
    assert tokens == 2 * (321 + 5 * 228)
    assert pairs == 2 * (321 * 322 // 2 + 5 * (228 * 321 + 228 * 229 // 2))


def test_known_devices_have_peaks_and_others_need_them_given():
    assert devices.peak_of("TPU v5e") == devices.peak_of("TPU v5 lite") == Peak(197e12, 0.819e12)
    assert devices.peak_of("NVIDIA H200", bandwidth=1e12) == Peak(989e12, 1e12)
    assert devices.peak_of("cpu", 1e11, 2e10) == Peak(1e11, 2e10)
    with pytest.raises(ValueError, match=r"peaks of 'cpu' are not known.*--flops.*--bandwidth"):
        devices.peak_of("cpu", flops=1e11)


def test_a_section_of_the_page_is_replaced_and_others_stay(tmp_path):
    path = tmp_path / "docs" / "performance.md"
    for title, text in (("One", "old"), ("Two", "### T\n\ntable"), ("One", "new")):
        page.write_section(path, title, text)
    assert path.read_text("utf-8") == (
        page.INTRODUCTION + "\n## One\n\nnew\n\n## Two\n\n### T\n\ntable\n"
    )
