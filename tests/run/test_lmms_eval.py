"""lmms-eval itself against a served model: its prompts are answered as `launch/infer.py` answers
them, and its score of them is ours.

`make test-harness` installs it beside everything else and names its Python in LMMS_EVAL.
"""

import io
import json
import os
import pathlib
import subprocess

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from r3jax import evaluate
from r3jax.run import vlm
from tests import tiny
from tests.run import models, served

PYTHON = os.environ.get("LMMS_EVAL", "")
COUNT = 8
TASK = """
task: local
dataset_path: parquet
dataset_kwargs: {{data_files: {{validation: {data}}}}}
test_split: validation
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.docvqa_doc_to_text
doc_to_target: answers
generation_kwargs: {{max_new_tokens: 32, temperature: 0, do_sample: false}}
metric_list: [{{metric: anls, aggregation: mean, higher_is_better: true}}]
lmms_eval_specific_kwargs: {{default: {{pre_prompt: "", post_prompt: ""}}}}
"""
UTILS = """
import io

from lmms_eval.tasks.docvqa.utils import docvqa_doc_to_text
from PIL import Image


def doc_to_visual(doc):
    return [Image.open(io.BytesIO(doc["image"]["bytes"])).convert("RGB")]
"""
MODEL_ARGS = "model=looking{suffix},base_url={address}/v1,api_key=any"


def encoded(image: np.ndarray) -> dict:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def write_task(folder: pathlib.Path) -> None:
    rows = [
        {"image": encoded(q.images[0]), "question": q.text, "questionId": q.id,
         "answers": [q.answer]}
        for q in tiny.questions(COUNT)
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "questions.parquet")
    (folder / "local.yaml").write_text(TASK.format(data=folder / "questions.parquet"))
    (folder / "utils.py").write_text(UTILS)


def run_harness(folder: pathlib.Path, address: str, suffix: str) -> tuple[dict, list[dict]]:
    """Runs the task; returns its results, and the samples in order."""
    out = folder / f"out{suffix.replace(':', '-')}"
    command = [
        *(PYTHON, "-m", "lmms_eval", "--model", "openai", "--tasks", "local", "--batch_size", "1"),
        *("--model_args", MODEL_ARGS.format(suffix=suffix, address=address)),
        *("--include_path", folder, "--log_samples", "--output_path", out),
        *("--gen_kwargs", "max_new_tokens=400", "--reasoning_tags", "none"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    env = {**os.environ, **offline, "OPENAI_API_KEY": "any"}
    subprocess.run(command, env=env, check=True, timeout=300)
    (results,), (samples,) = out.rglob("*_results.json"), out.rglob("*_samples_local.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return json.loads(results.read_text()), sorted(lines, key=lambda line: line["doc_id"])


@pytest.mark.skipif(not PYTHON, reason="make test-harness names lmms-eval's Python as LMMS_EVAL")
def test_lmms_eval_scores_what_infer_answers(tmp_path):
    write_task(tmp_path)
    model = vlm.from_pretrained(models.looking())
    asked = tiny.questions(COUNT)
    episodes = [model.look_again(q.images[0], q.text, max_text_tokens=200) for q in asked]
    assert any(episode.looks for episode in episodes)
    flags = ("--rows=4", "--max_text_tokens=200", "--max_question_tokens=128", "--max_images=1")
    with served.serve(*flags) as (address, _):
        for suffix in ("", ":answer"):
            results, lines = run_harness(tmp_path, address, suffix)
            answers = [e.answer if suffix and e.answer else e.text for e in episodes]
            assert [line["filtered_resps"].strip() for line in lines] == [
                answer.strip() for answer in answers
            ]
            ours = [
                evaluate.score("DocVQA", answer, {"answers": [q.answer]})
                for answer, q in zip(answers, asked)
            ]
            found = next(v for k, v in results["results"]["local"].items() if k.startswith("anls,"))
            assert found == pytest.approx(sum(ours) / COUNT)
    assert sum(ours) > 0, "with the answer alone some are right"
