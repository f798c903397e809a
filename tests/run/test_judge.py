"""R-GRPO with a judge: what it cannot be asked about leaves baseline and loss; training goes on."""

import json

import pytest

from launch import train
from r3jax import metrics
from r3jax.run.train import read
from tests.run import loops, models
from tests.scripted_endpoint import Reply, serving


@pytest.mark.slow
def test_a_run_goes_on_while_its_judge_fails_and_asks_nothing_twice(tmp_path):
    """Answers are sentences, which rules leave to the judge; every second request fails."""
    data = loops.write_data(tmp_path / "data")
    rows = json.loads((data / "rl.json").read_text())
    told = [{**row, "answer": f"it is what row {n} says it is"} for n, row in enumerate(rows)]
    (data / "rl.json").write_text(json.dumps(told))

    def answer(number: int, request: dict) -> Reply:
        return Reply(status=500) if number % 2 else Reply("WRONG")

    with serving(answer) as script:
        config = loops.rgrpo_config(models.looking(), data, steps=2)
        endpoint = {"url": script.url, "model": "judge", "tries": 1, "backoff_s": 0.0}
        config |= {"judge": {"endpoint": {**endpoint, "at_once": 1}}}
        config |= {"refill": 0, "updates": 1, "micro_batch": 0, "loss": {}}  # fewer programs
        file = loops.write_config(tmp_path / "config.py", config)
        assert train.main([f"--config={file}", f"--workdir={tmp_path / 'run'}"]) == 0
        asked = [json.dumps(request) for request in script.requests]
    lines = metrics.read(tmp_path / "run" / metrics.METRICS)
    assert len(lines) == 2 and any(0 < line["unknown"] < 1 for line in lines)
    for line in lines:
        assert line["counted"] <= 1 - line["unknown"] + 1e-6
    answered = [one for number, one in enumerate(asked) if number % 2 == 0]
    assert len(answered) == len(set(answered)) and (tmp_path / "run" / "judge-0.sqlite").is_file()


def test_a_judge_is_a_field_of_the_config(tmp_path):
    config = loops.rgrpo_config("model", tmp_path, steps=2)
    config["judge"] = {"endpoint": {"url": "http://judge:8000/v1", "model": "Qwen2.5-72B"}}
    _, record = read(config)
    assert record.judge.endpoint.model == "Qwen2.5-72B" and record.judge.pause_above == 0.5
