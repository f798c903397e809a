"""A profiled run: every phase has its row, the rows are the step, and training is the same."""

import pathlib

import jax
import pytest
from jax.experimental import compilation_cache

from r3jax import config as config_lib
from r3jax import metrics
from r3jax.phases import Phase, span
from r3jax.run import profiler, rgrpo, sft, train
from r3jax.view import profile as view
from tests.run import loops, models
from tests.run.test_resume import weights

STEPS = 4  # one to warm up, two to time, one to trace


@pytest.fixture
def compiled_once(tmp_path):
    """Two runs of a config compile once: the tests are about numbers, not waiting."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for values in (settings, before):
        compilation_cache.compilation_cache.reset_cache()
        for name, value in values.items():
            jax.config.update(name, value)
        if values is settings:
            yield


@pytest.fixture
def recorded(monkeypatch) -> list[view.Profile]:
    """The profiles that runs write a page of."""
    found = []

    def html(profile):
        found.append(profile)
        return original(profile)

    original = view.html
    monkeypatch.setattr(view, "html", html)
    return found


def run_both(run, config, tmp_path) -> pathlib.Path:
    """Trains with a profile and without, to the same end; returns the profiled run's workdir."""
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    run(config, plain)
    run(config, watched, profile=2)
    assert (plain / metrics.METRICS).read_bytes() == (watched / metrics.METRICS).read_bytes()
    assert weights(plain) == weights(watched)
    assert not (plain / profiler.FOLDER).exists()
    return watched


def check_left_behind(workdir) -> str:
    """Table, page and trace lie in the workdir; returns the table."""
    folder = workdir / profiler.FOLDER
    assert (folder / profiler.PAGE).read_text().startswith("<!doctype html>")
    assert len(list(folder.rglob("perfetto_trace.json.gz"))) == 1
    return (folder / profiler.TABLE).read_text()


@pytest.mark.slow
def test_every_phase_of_rgrpo_has_its_row(tmp_path, recorded, compiled_once, capsys):
    data = loops.write_data(tmp_path / "data")
    values = loops.rgrpo_config(models.looking(), data, STEPS)
    values["buckets"]["fill"] = (1.0,)
    del values["kind"]
    workdir = run_both(rgrpo.run, config_lib.build(rgrpo.RgrpoRunConfig, values), tmp_path)
    (profile,) = recorded
    assert [row.phase for row in view.rows(profile)] == list(Phase)
    assert [step.step for step in profile.times] == [1, 2]
    timings = metrics.read(workdir / metrics.TIMINGS)
    for step in profile.times:
        inside = timings[step.step]["rollout_s"] + timings[step.step]["update_s"]
        assert inside <= sum(step.seconds.values())
        assert (step.calls[Phase.LOG_PROBS], step.calls[Phase.UPDATE]) == (1, values["updates"])
        assert step.calls[Phase.LOOKS] < step.calls[Phase.DECODE]
    table = check_left_behind(workdir)
    assert "compiled" not in table and "Step 4 was traced" in table
    assert table in capsys.readouterr().out


@pytest.mark.slow
def test_sft_has_data_update_checkpoint_and_its_held_out_loss(tmp_path, recorded, compiled_once):
    data = loops.write_data(tmp_path / "data")
    values = loops.sft_config(models.untrained(), data, STEPS)
    values |= {"valid_every": 3, "checkpoint": {"every": 3, "keep": 1}}
    values["buckets"] |= {"suffix_tokens": (128,), "fill": (1.0,)}
    values["buckets"]["crops"] = values["buckets"]["crops"][-1:]
    del values["kind"]
    workdir = run_both(sft.run, config_lib.build(sft.SftConfig, values), tmp_path)
    (profile,) = recorded
    assert [(row.phase, row.calls) for row in view.rows(profile)] == [
        (Phase.DATA, 1.0),
        (Phase.LOG_PROBS, 0.5),
        (Phase.UPDATE, 1.0),
        (Phase.CHECKPOINT, 1.0),  # state and report, in one of two steps
        (Phase.IDLE, 0.0),
    ]
    table = check_left_behind(workdir)
    assert "Not in these steps: prefill, decode, looks, rewards." in table


def test_what_is_compiled_in_timed_steps_is_told(tmp_path):
    watching = profiler.Profiler(tmp_path, "SFT", 2, start=0, end=4)
    for step in range(4):
        with watching.step(step), span(Phase.UPDATE) as done:
            done(jax.jit(lambda x, step=step: x + step)(1.0))
        assert bool(watching.finish(step)) == (step == 3)
    table = check_left_behind(tmp_path)
    assert "\n\n2 programs were compiled in these steps, which took 0." in table
    assert "steps 2, 3 took" in table and "| update |" in table


@pytest.mark.parametrize("steps", [0, -1])
def test_a_profile_of_no_steps_is_refused_before_anything_is_written(steps, tmp_path):
    with pytest.raises(ValueError, match=f"at least 1 step, found {steps}: write --profile for 3"):
        train.train({"kind": "sft"}, tmp_path / "run", profile=steps)
    assert not (tmp_path / "run").exists()


def test_a_run_with_too_few_steps_left_is_refused(tmp_path):
    profiler.Profiler(tmp_path, "SFT", 3, start=5, end=10)
    profiler.Profiler(tmp_path, "SFT", None, start=10, end=10)
    with pytest.raises(ValueError, match=r"found 4 of 10 steps left in .*: write --profile=2, "):
        profiler.Profiler(tmp_path, "SFT", 3, start=6, end=10)
    with pytest.raises(ValueError, match=r"found 2 of 10 steps left in .*: raise config.steps, "):
        profiler.Profiler(tmp_path, "SFT", 3, start=8, end=10)


def test_a_step_that_fails_ends_its_trace(tmp_path):
    watching = profiler.Profiler(tmp_path, "SFT", 1, start=0, end=3)
    with pytest.raises(RuntimeError, match="mine"), watching.step(2):
        raise RuntimeError("mine")
    with watching.step(2):  # JAX refuses a trace while another one is open
        pass
