"""Published benchmarks from their files to results.json: asked of a model, of an endpoint, or
answered elsewhere."""

import base64
import io
import json
import shutil

import pytest
from PIL import Image

from launch import compare
from launch import evaluate as program
from r3jax.evaluate import prompts, readers
from r3jax.evaluate.prompts import Order
from tests import scripted_endpoint
from tests.evaluate import published
from tests.run import models
from tests.scripted_endpoint import Reply


def call(benchmark, data, output, *flags) -> int:
    return program.main(
        [f"--benchmark={benchmark}", f"--data={data}", f"--output={output}", *flags]
    )


def results(output) -> dict:
    return json.loads((output / "results.json").read_text())


def lines(output) -> list[dict]:
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_made_elsewhere_are_scored_by_id_or_in_order(tmp_path, capsys):
    data = published.SNAPSHOTS["CV-Bench", "hf"](tmp_path)
    said = ["<think>A or B?</think><answer>(b)</answer>", "The answer is 0.", ""]
    by_id = [{"id": str(n), "prediction": text} for n, text in enumerate(said)]
    for name, rows in (("id", by_id[::-1]), ("order", [{"text": text} for text in said])):
        file = write_rows(tmp_path / f"{name}.jsonl", rows)
        assert call("cvbench", data, tmp_path / name, f"--predictions={file}") == 0
        found = results(tmp_path / name)
        assert found["scores"]["2D"] == 50 and found["scores"]["3D"] == 0
        assert found["unanswered"] == pytest.approx(1 / 3) and found["judged"] == 0
    assert "2D" in capsys.readouterr().out
    assert [line["answer"] for line in lines(tmp_path / "id")] == ["(b)", "The answer is 0.", ""]
    twice = write_rows(tmp_path / "twice.jsonl", [*by_id, by_id[0]])
    assert call("cvbench", data, tmp_path / "twice", f"--predictions={twice}") == 1
    assert "line 4: has the id 0, as" in capsys.readouterr().err
    few = write_rows(tmp_path / "few.jsonl", by_id[:2])
    assert call("cvbench", data, tmp_path / "few", f"--predictions={few}") == 1
    assert "no reply for 1 of 3 questions, the first of which is 2" in capsys.readouterr().err
    assert call("cvbench", data, tmp_path / "two", f"--predictions={few}", "--limit=2") == 0


def answering(number: int, request: dict) -> Reply:
    """Chooses the option that says leather, wherever it stands."""
    (turn,) = request["messages"]
    asked = " ".join(part.get("text", "") for part in turn["content"])
    letter = next(line[1] for line in asked.splitlines() if line.endswith("leather"))
    return Reply(f"It is {letter}? <answer>{letter}</answer>")


def test_a_model_behind_an_endpoint_sees_the_same_words_and_the_pixels_that_results_state(tmp_path):
    data = published.SNAPSHOTS["V*", "hf"](tmp_path)
    with scripted_endpoint.serving(answering) as script:
        flags = [f"--endpoint={script.url}", "--endpoint_model=m", "--options=circular"]
        flags += ["--image_tokens=4,16"]
        assert call("V*", data, tmp_path / "out", *flags) == 0
    found = results(tmp_path / "out")
    assert found["scores"]["overall"] == 0, "leather is wrong"
    assert found["asked"] == len(script.requests) == 8
    assert found["pixels"]["image"] == [4 * 784, 16 * 784]
    asked = prompts.askings(readers.read("V*", data), Order.CIRCULAR)
    said = [request["messages"][0]["content"] for request in script.requests]
    assert {parts[1]["text"] for parts in said} == {one.text for one in asked}
    assert {parts[2]["text"] for parts in said} == {
        "\nReason step by step, then give only the final answer inside <answer></answer>."
    }
    url = said[0][0]["image_url"]["url"]
    shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert url.startswith("data:image/png;base64,") and shown.size == (84, 56)


def test_what_an_endpoint_has_said_is_not_asked_again_after_a_failure(tmp_path, capsys):
    data = published.SNAPSHOTS["V*", "hf"](tmp_path)
    failing = {"on": True}

    def sometimes(number, request):
        asked = request["messages"][0]["content"][1]["text"]
        if failing["on"] and asked.splitlines()[1].endswith("kevlar"):
            return Reply(status=404)
        return answering(number, request)

    with scripted_endpoint.serving(sometimes) as script:
        flags = [f"--endpoint={script.url}", "--endpoint_model=m", "--options=circular"]
        assert call("V*", data, tmp_path / "out", *flags) == 1
        assert "run the same command to ask them again" in capsys.readouterr().err
        assert len(lines(tmp_path / "out")) == 2 and len(script.requests) == 8
        failing["on"] = False
        assert call("V*", data, tmp_path / "out", *flags) == 0
    assert len(script.requests) == 10, "two had no reply"
    assert results(tmp_path / "out")["asked"] == 8
    other = [flags[0], "--endpoint_model=other", flags[2]]
    assert call("V*", data, tmp_path / "out", *other) == 1
    assert "endpoint_model was 'm', is 'other'" in capsys.readouterr().err
    assert call("V*", data, tmp_path / "out", *flags, "--image_tokens=4,8") == 1
    assert "pixels was" in capsys.readouterr().err


def test_every_time_that_all_is_asked_has_replies_of_its_own(tmp_path, capsys):
    data = published.SNAPSHOTS["V*", "hf"](tmp_path)
    said = iter("ABAB")
    with scripted_endpoint.serving(lambda number, request: Reply(next(said))) as script:
        flags = [f"--endpoint={script.url}", "--endpoint_model=m", "--at_once=1", "--repeats=2"]
        assert call("V*", data, tmp_path / "out", *flags) == 1
        assert "set a temperature" in capsys.readouterr().err
        assert call("V*", data, tmp_path / "out", *flags, "--temperature=1") == 0
    found = results(tmp_path / "out")
    assert (found["mean"], found["count"], found["asked"]) == (50, 2, 4)


def test_a_judge_decides_what_rules_cannot_read_and_nothing_else(tmp_path):
    data = published.SNAPSHOTS["HallusionBench", "hf"](tmp_path)  # no, yes, no, yes
    said = ["no", "It surely is so", "It may be", "no"]
    file = write_rows(tmp_path / "said.jsonl", [{"text": text} for text in said])

    def judge(number, request):
        answer = json.loads(request["messages"][1]["content"])["answer"]
        return Reply("RIGHT" if answer == "It surely is so" else "perhaps")

    with scripted_endpoint.serving(judge) as script:
        flags = [f"--predictions={file}", f"--judge={script.url}", "--judge_model=j"]
        assert call("HallusionBench", data, tmp_path / "out", *flags) == 0
    asked = {json.loads(one["messages"][1]["content"])["answer"] for one in script.requests}
    assert asked == {"It surely is so", "It may be"}
    found = results(tmp_path / "out")
    assert (found["judged"], found["judge_failed"], found["scores"]["aAcc"]) == (0.25, 0.25, 50)
    assert found["judge"] == f"j at {script.url}"
    decided = (tmp_path / "out" / "judged.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in decided] == [1, 0]
    with scripted_endpoint.serving(judge) as again:
        later = [flags[0], f"--judge={again.url}", flags[2]]
        assert call("HallusionBench", data, tmp_path / "out", *later) == 0
    assert len(again.requests) == 4, "what it said is kept by what is asked: a word is tried again"
    assert {one["right_answer"] for one in map(question_of, script.requests)} == {"yes", "no"}


def question_of(request: dict) -> dict:
    return json.loads(request["messages"][1]["content"])


def test_a_question_that_is_refused_counts_as_wrong_and_is_told(tmp_path, capsys):
    data = published.SNAPSHOTS["V*", "hf"](tmp_path)

    def refusing(number, request):
        if number == 0:
            return Reply(status=400)
        message = {"content": None, "refusal": "I cannot help with that."}
        return Reply(body=json.dumps({"choices": [{"message": message}]}))

    with scripted_endpoint.serving(refusing) as script:
        flags = [f"--endpoint={script.url}", "--endpoint_model=m"]
        assert call("V*", data, tmp_path / "out", *flags) == 0
    assert results(tmp_path / "out")["refused"] == 1
    assert "100.0% of the questions were refused" in capsys.readouterr().out


def test_a_model_is_asked_with_several_images_and_with_none_and_goes_on(tmp_path):
    data = published.SNAPSHOTS["MMMU", "hf"](tmp_path / "mmmu")
    flags = [f"--model={models.untrained()}", "--batch=2", "--max_text_tokens=24"]
    flags += ["--temperature=1", "--repeats=2"]
    assert call("MMMU", data, tmp_path / "whole", *flags) == 0
    whole = lines(tmp_path / "whole")
    assert [line["gold"] for line in whole] == ["B: it's blue", "8 / eight"] * 2
    assert len({line["text"] for line in whole}) == 4, "temperature 1: every reply is its own"
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    kept = (tmp_path / "whole" / "predictions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut" / "predictions.jsonl").write_text(kept[0] + kept[1][:20])
    assert call("MMMU", data, tmp_path / "cut", *flags) == 0
    assert lines(tmp_path / "cut") == whole
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    none = published.SNAPSHOTS["ScienceQA", "hf"](tmp_path / "science")
    assert call("ScienceQA", none, tmp_path / "none", *flags[:3]) == 0
    assert results(tmp_path / "none")["count"] == 2


def test_models_are_compared_in_one_table_that_goes_on_where_one_failed(tmp_path, capsys):
    folders = {name: tmp_path / name for name in ("vstar", "cv")}
    data = [published.SNAPSHOTS["V*", "hf"](folders["vstar"])]
    data.append(published.SNAPSHOTS["CV-Bench", "hf"](folders["cv"]))
    down = {"on": True}

    def answer(number, request):
        return Reply(status=404) if down["on"] and request["model"] == "b" else Reply("(B)")

    with scripted_endpoint.serving(answer) as script:
        config = tmp_path / "compared.py"
        config.write_text(
            "import ml_collections\n\n\ndef get_config():\n    return ml_collections.ConfigDict("
            "{'models': tuple({'name': n, 'endpoint_model': n} for n in 'ab'), 'common': "
            f"{{'endpoint': {script.url!r}}}, 'benchmarks': ({{'name': 'V*', 'data': "
            f"{str(data[0])!r}}}, {{'name': 'CV', 'benchmark': 'cvbench', 'data': "
            f"{str(data[1])!r}, 'number': '3D'}})}})\n"
        )
        flags = [f"--config={config}", f"--output={tmp_path / 'out'}"]
        with pytest.raises(SystemExit, match=r"b on CV: question 0: .* 404"):
            compare.main(flags)
        assert "| b |     |       |" in (tmp_path / "out" / "table.md").read_text()
        asked, down["on"] = len(script.requests), False
        assert compare.main(flags) == 0
    assert len(script.requests) == asked + 5, "what was answered is not asked again"
    assert (tmp_path / "out" / "table.md").read_text().splitlines()[2:] == [
        "| a | 0.0 | 100.0 |",
        "| b | 0.0 | 100.0 |",
    ]
    assert compare.main([*flags, "--config.common.options=sorted"]) == 1
    assert "a on V*: options: expected one of given" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--benchmark=MMStarry"], "benchmark 'MMStarry': expected one of MathVista"),
        (["--endpoint=http://x/v1"], "name the model there as endpoint_model"),
        (["--model=m", "--image_tokens=many"], "expected fewest and most, as 32,8192"),
        (["--predictions=p", "--judge=http://x/v1"], "name the model there as judge_model"),
        (["--predictions=p", "--benchmark=look_again", "--options=shuffled"], "has no options"),
        (["--predictions=p", "--max_looks=2"], "max_looks changes nothing where predictions is"),
        (["--benchmark=HR-Bench 8K"], "name it HR-Bench, and the file that you mean"),
    ],
)
def test_what_cannot_be_asked_is_named(flags, message, tmp_path, capsys):
    data = published.SNAPSHOTS["V*", "hf"](tmp_path)
    fixed = [f"--output={tmp_path / 'out'}", f"--data={data}", "--benchmark=V*"]
    named = any(flag.startswith(("--endpoint", "--model", "--predictions")) for flag in flags)
    whom = [] if named else ["--predictions=p"]
    assert program.main([*fixed, *whom, *flags]) == 1
    err = capsys.readouterr().err
    assert err.startswith("evaluate: ") and err.count("\n") == 1 and message in err
