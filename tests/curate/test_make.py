"""Making traces end to end against a scripted endpoint that fails, kills and all."""

import dataclasses
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from launch import build_vlir
from r3jax.curate import making
from r3jax.data import chat, pipelines, sources
from r3jax.run import inspect_rows, make_vlir
from tests import tiny
from tests.curate import files, teaching
from tests.scripted_endpoint import Reply, serving

ROOT = build_vlir.__file__.rpartition("/launch/")[0]


def flags(data, output, url, *more) -> list[str]:
    """A usual command line, impatient."""
    roles = {"teacher": "teacher", "recognizer": "small", "judge": "judge"}
    found = ["make", "--source=vlir", f"--data={data}", f"--output={output}"]
    for role, model in roles.items():
        found += [f"--{role}={url}", f"--{role}_model={model}"]
        found += [f"--config.{role}.endpoint.backoff_s=0.01"]
        found += [f"--config.{role}.endpoint.timeout_s=1.0"]
        found += [f"--config.{role}.endpoint.at_once=4"]
    return [*found, "--teacher_price", "0.5", "1.5", *more]


@pytest.fixture
def data(tmp_path):
    files.world(tmp_path / "data")
    return tmp_path / "data/rl.json"


def content(output) -> dict[str, bytes]:
    """All files of an output but those that say what was asked when."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and not path.name.startswith(("kept", make_vlir.TIMINGS))
    }


def test_traces_are_made_filtered_and_told_of(data, tmp_path, capsys):
    output = tmp_path / "made"
    school = teaching.School(data)
    with serving(school) as script:
        assert build_vlir.main(flags(data, output, script.url)) == 0
    told = json.loads((output / "report.json").read_text())
    by_stage = {stage["name"]: stage for stage in told["stages"]}
    reasons = by_stage["traces"]["reasons"]
    assert reasons == {"box outside": 1, "no answer": 1, "too few looks": 2}
    assert by_stage["answers"]["reasons"] == {"wrong answer": 1}
    for before, after in zip(told["stages"], told["stages"][1:]):
        assert before["kept"] == after["entered"] == after["kept"] + after["dropped"]
    assert told["undecided"] == 0 and told["traces"] == told["stages"][-1]["kept"] > 3
    tokens = by_stage["traces"]["usage"]
    dollars = (0.5 * tokens["prompt_tokens"] + 1.5 * tokens["completion_tokens"]) / 1e6
    assert told["dollars"] == pytest.approx(dollars) and tokens["prompt_tokens"] > 0
    assert "box outside: 1" in capsys.readouterr().out
    page = (output / "report.html").read_text()
    assert all(f"{reason}: {count}</summary>" in page for reason, count in reasons.items())
    assert max(school.said.values()) == 1
    timings = [json.loads(line) for line in (output / make_vlir.TIMINGS).read_text().splitlines()]
    assert [one["stage"] for one in timings] == ["traces", "regions", "chains"]
    assert all(one["requests_per_s"] > 0 for one in timings)


def test_what_comes_out_is_a_published_file_that_training_reads(data, tmp_path):
    output = tmp_path / "made"
    with serving(teaching.School(data)) as script:
        assert build_vlir.main(flags(data, output, script.url)) == 0
    rows = sources.read_sft(str(output / "sft.jsonl"))
    found = inspect_rows.inspect(output / "sft.jsonl", inspect_rows.Options())
    assert found.good == len(rows) and found.crops.counts == {
        "agrees": sum(row.num_crops for row in rows)
    }
    known = {row["id"]: row for row in json.loads(data.read_text())}
    for row in rows:
        item = pipelines.load_sft(row, tiny.tk(), chat.ChatFormat())
        source = known[row.tags["source_id"]]
        assert item.episode.answer == source["answer"] and row.question == source["question"]
        assert item.episode.text.startswith("<think>Look 1. {") and len(item.episode.looks) >= 1
        assert item.episode.text.count("think>") == 2
        kept = {"source", "source_id", "answers", "teacher", "settings", "recognizer", "judge"}
        assert kept <= set(row.tags) and row.tags["source"] == source["source"]


@pytest.mark.slow
def test_killed_at_three_moments_it_ends_as_an_undisturbed_run_and_repeats_nothing(data, tmp_path):
    with serving(teaching.School(data)) as script:
        assert build_vlir.main(flags(data, tmp_path / "whole", script.url)) == 0
    output = tmp_path / "killed"
    school = teaching.School(data, teaching.often(0.25))
    with serving(slowly(school)) as script:
        arguments = flags(data, output, script.url)
        for name, size in (("traces", 3), ("traces", 7), ("regions", 3)):
            before = keys(output)
            asked = len(script.requests)
            kill_when(arguments, lambda n=name, s=size: count(output / f"{n}.jsonl") >= s)
            sent = [school.key(request) for request in script.requests[asked:]]
            assert before.isdisjoint(sent), "an answer that was kept was asked for again"
        before, asked = keys(output), len(script.requests)
        assert build_vlir.main(arguments) == 0
        assert before.isdisjoint(school.key(request) for request in script.requests[asked:])
    assert content(output) == content(tmp_path / "whole")
    # What was on its way when the process was killed is all that was answered twice.
    assert sum(times - 1 for times in school.said.values()) <= 3 * 4
    assert len(script.requests) > sum(school.said.values()) > 20


def slowly(school):
    def answer(number: int, request: dict) -> Reply:
        reply = school(number, request)
        return dataclasses.replace(reply, delay_s=reply.delay_s + 0.05)

    return answer


def kill_when(arguments, is_time) -> None:
    """Runs the program, and kills it without warning."""
    command = [sys.executable, f"{ROOT}/launch/build_vlir.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not is_time() and time.monotonic() < until:
        assert process.poll() is None, "it ended before it was to be killed"
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def count(path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def keys(output) -> set[str]:
    """The requests whose answers are kept, by the names they have there."""
    if not (output / make_vlir.KEPT).is_file():
        return set()
    with sqlite3.connect(output / make_vlir.KEPT) as kept:
        return {key for (key,) in kept.execute("select key from kept") if " " not in key}


def test_an_endpoint_that_is_down_decides_nothing_and_the_same_command_asks_again(data, tmp_path):
    output, whole = tmp_path / "made", tmp_path / "whole"
    school = teaching.School(data)
    down = {"small"}

    def answer(number: int, request: dict) -> Reply:
        if request["model"] in down:
            return Reply(status=503, body="starting")
        return school(number, request)

    with serving(answer) as script:
        assert build_vlir.main(flags(data, output, script.url)) == build_vlir.UNDECIDED
        told = json.loads((output / "report.json").read_text())
        regions = next(stage for stage in told["stages"] if stage["name"] == "regions")
        assert regions["undecided"] == regions["entered"] == told["undecided"] > 3
        assert "503 starting" in regions["failure"] and regions["reasons"]["endpoint failed"] > 3
        assert told["traces"] == 0 and (output / "sft.jsonl").read_text() == ""
        down.clear()
        assert build_vlir.main(flags(data, output, script.url)) == 0
        assert max(school.said.values()) == 1
        assert build_vlir.main(flags(data, whole, script.url)) == 0
    assert content(output) == content(whole)


def test_one_request_that_fails_leaves_one_sample_undecided_and_keeps_the_order(data, tmp_path):
    output, whole = tmp_path / "made", tmp_path / "whole"
    school = teaching.School(data)
    broken = []

    def answer(number: int, request: dict) -> Reply:
        text = json.dumps(request)
        if not broken and request["model"] == "judge":
            broken.append(text)
        if text in broken:
            return Reply(status=500, body="this one never")
        return school(number, request)

    with serving(answer) as script:
        assert build_vlir.main(flags(data, output, script.url)) == build_vlir.UNDECIDED
        told = json.loads((output / "report.json").read_text())
        assert told["undecided"] == 1 and told["traces"] > 2
        broken[:] = ["nothing"]
        assert build_vlir.main(flags(data, output, script.url)) == 0
        assert build_vlir.main(flags(data, whole, script.url)) == 0
    assert content(output) == content(whole)


def test_a_stop_signal_ends_it_soon_and_the_same_command_goes_on(data, tmp_path, capsys):
    output = tmp_path / "made"
    school = teaching.School(data)
    stop = iter([False] * 4 + [True] + [False] * 1000)

    def answer(number: int, request: dict) -> Reply:
        if next(stop):
            os.kill(os.getpid(), signal.SIGTERM)
        return dataclasses.replace(school(number, request), delay_s=0.05)

    with serving(answer) as script:
        assert build_vlir.main(flags(data, output, script.url)) == build_vlir.UNDECIDED
        assert "stopped; the same command goes on" in capsys.readouterr().out
        assert not (output / "report.json").exists()
        assert build_vlir.main(flags(data, output, script.url)) == 0
    assert max(school.said.values()) == 1


def test_other_settings_are_refused_and_other_addresses_are_not(data, tmp_path, capsys):
    output = tmp_path / "made"
    with serving(teaching.School(data)) as script:
        assert build_vlir.main(flags(data, output, script.url)) == 0
    elsewhere = flags(data, output, "http://127.0.0.1:9/v1")
    assert build_vlir.main(elsewhere) == 0, "nothing is left to ask"
    assert build_vlir.main([*elsewhere, "--limit=3"]) == 1
    assert "other settings: limit was None, is 3" in capsys.readouterr().err


def test_filters_without_anybody_to_ask_are_told_not_to_have_run(data, tmp_path, capsys):
    output = tmp_path / "made"
    with serving(teaching.School(data)) as script:
        arguments = flags(data, output, script.url)
        arguments = [one for one in arguments if "recognizer" not in one and "judge" not in one]
        assert build_vlir.main([*arguments, "--limit=6", "--seed=1"]) == 0
    told = json.loads((output / "report.json").read_text())
    assert told["not_run"] == ["regions", "chains"] and told["stages"][0]["entered"] == 6
    assert "regions: not run, nobody to ask" in capsys.readouterr().out
    row = json.loads((output / "sft.jsonl").read_text().split("\n")[0])
    assert not {"recognizer", "judge"} & set(row["tags"])


@pytest.mark.parametrize("name", ["", "MMStar="])
def test_questions_and_images_of_a_benchmark_do_not_get_to_the_teacher(data, tmp_path, name):
    output = tmp_path / "made"
    rows = json.loads(data.read_text())
    own = [row for row in rows if row["image_path"] == rows[0]["image_path"]]
    path = data.with_name("val.jsonl")
    star = {"index": 0, "category": "c", "l2_category": "d", "answer": "A", "A": "1", "B": "2"}
    path.write_text(json.dumps(own[1] | star | {"image": own[1]["image_path"]}) + "\n")
    with serving(teaching.School(data)) as script:
        arguments = flags(data, output, script.url, "--benchmarks", f"{name}{path}")
        assert build_vlir.main(arguments) == 0
    told = json.loads((output / "report.json").read_text())
    reasons = {"image of a benchmark": len(own) - 1, "question of a benchmark": 1}
    assert told["stages"][1]["reasons"] == reasons


def test_a_benchmark_that_would_remove_nothing_is_refused(data, tmp_path, capsys):
    path = data.with_name("texts.jsonl")
    path.write_text('{"question": "Why?"}\n')
    arguments = flags(data, tmp_path / "made", "http://127.0.0.1:9/v1", "--benchmarks", str(path))
    assert build_vlir.main(arguments) == 1
    assert "has a question and an image; name the benchmark" in capsys.readouterr().err


def test_a_teacher_is_shown_the_pixels_and_the_size_that_its_boxes_are_of(data, tmp_path):
    with serving(teaching.School(data)) as script:
        assert build_vlir.main(flags(data, tmp_path / "made", script.url)) == 0
    asked = [one for one in script.requests if one["model"] == "teacher"]
    longest = max(asked, key=lambda request: len(request["messages"]))
    system, first, reply, crop, *_ = longest["messages"]
    assert "(width x height)" in first["content"][1]["text"] and system["role"] == "system"
    assert reply["content"].endswith("]}") and "```" not in reply["content"]
    shown = crop["content"][0]["image_url"]["url"]
    sizes = {hashlib.sha256(part.encode()).hexdigest() for part in (shown, str(first))}
    assert shown.startswith("data:image/png;base64,") and len(sizes) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source=coco"], "source: expected one of textvqa, docvqa"),
        (["--config.teacher.max_lookz=3"], "unknown field 'max_lookz'; the nearest known one is"),
        (["--config.teacher.max_looks=0"], "expected 0 <= min_looks <= max_looks"),
        (["--config.teacher.max_looks=9"], "max_looks is at most 8"),
        (["--source=docvqa"], "rows of {data} can be used as docvqa; the first: bad row"),
        (["--config.judge.endpoint.kept=x"], "name x as `kept`, for all"),
        (["--limit=0"], "limit must be at least 1"),
        (["--boxes=none.json"], "none.json"),
    ],
)
def test_a_wrong_flag_is_named(data, tmp_path, capsys, more, message):
    arguments = [*flags(data, tmp_path / "made", "http://127.0.0.1:9/v1"), *more]
    assert build_vlir.main(arguments) == 1
    assert message.format(data=data) in capsys.readouterr().err


def test_files_of_one_name_are_told_apart_and_so_is_a_change_behind_their_beginning(tmp_path):
    def described() -> dict:
        one = {"endpoint": {"url": "http://x/v1", "model": "m"}}
        paths = [str(path) for path in sorted(tmp_path.rglob("test.jsonl"))]
        values = {"source": "vlir", "data": paths[0], "teacher": one, "benchmarks": paths}
        return making.describe(make_vlir.read(values))

    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.jsonl").write_text(name * (2**20 + 1))
    before = described()
    assert len(before["benchmarks"]) == 2
    (tmp_path / "a/test.jsonl").write_text("a" * 2**20 + "b")
    changed = [name for name, value in described().items() if value != before[name]]
    assert changed == ["data", "benchmarks"]
