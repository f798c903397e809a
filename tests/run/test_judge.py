"""R-GRPO with a judge: what it cannot be asked about leaves baseline and loss; training goes on."""

import json

import pytest

from launch import train
from r3jax import metrics
from r3jax.run.train import read
from tests.run import loops, models
from tests.scripted_endpoint import Reply, serving


@pytest.mark.slow
def test_a_run_goes_on_while_its_judge_fails_and_asks_nothing_twice(tmp_path, capsys):
    """Answers are sentences, which rules leave to the judge; it fails in the first of two steps,
    and a run of the same steps in the same workdir's file asks only what had no verdict."""
    data = loops.write_data(tmp_path / "data")
    rows = json.loads((data / "rl.json").read_text())
    told = [{**row, "answer": f"it is what row {n} says it is"} for n, row in enumerate(rows)]
    (data / "rl.json").write_text(json.dumps(told))
    answered = []

    def answer(number: int, request: dict) -> Reply:
        if number < 2:
            return Reply(status=500)
        answered.append(json.dumps(request))
        return Reply("WRONG")

    with serving(answer) as script:
        config = loops.rgrpo_config(models.looking(), data, steps=2)
        endpoint = {"url": script.url, "model": "judge", "tries": 1, "backoff_s": 0.0}
        config["judge"] = {"endpoint": {**endpoint, "kept": str(tmp_path / "kept.sqlite")}}
        config |= {"refill": 0, "updates": 1, "micro_batch": 0, "loss": {}}  # fewer programs
        file = loops.write_config(tmp_path / "config.py", config)
        for run in ("one", "other"):
            assert train.main([f"--config={file}", f"--workdir={tmp_path / run}"]) == 0
    lines, again = (metrics.read(tmp_path / run / metrics.METRICS) for run in ("one", "other"))
    assert lines[0]["judge_failed"] > 0 < lines[0]["unknown"] and lines[0]["alarm/judge_failed"]
    assert lines[0]["counted"] <= 1 - lines[0]["unknown"] + 1e-6
    assert "judge_failed is" in capsys.readouterr().out
    assert answered and len(answered) == len(set(answered))
    assert all(line["unknown"] == 0 for line in again)


def test_a_judge_is_a_field_of_the_config(tmp_path):
    config = loops.rgrpo_config("model", tmp_path, steps=2)
    config["judge"] = {"endpoint": {"url": "http://judge:8000/v1", "model": "Qwen2.5-72B"}}
    _, record = read(config)
    assert record.judge.endpoint.model == "Qwen2.5-72B" and record.judge.pause_above == 0.5
