"""Small snapshots of benchmarks with the columns that their files have, as Hugging Face and as
VLMEvalKit publish them."""

import base64
import functools
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

OPTIONS = ("rubber", "cotton", "kevlar", "leather")


@functools.cache
def png(number: int) -> bytes:
    """A picture of noise, large enough that its base64 is no name."""
    noise = np.random.default_rng(number).integers(0, 256, (36, 48, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def stored(number: int) -> dict[str, Any]:
    """An image as `datasets` stores it."""
    return {"bytes": png(number), "path": f"{number}.png"}


def encoded(number: int) -> str:
    return base64.b64encode(png(number)).decode()


def parquet(path: pathlib.Path, rows: list[Mapping]) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def tsv(path: pathlib.Path, rows: list[Mapping]) -> pathlib.Path:
    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        quoted = text.replace('"', '""')
        return f'"{quoted}"' if set(text) & set('\t\n"') else text

    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([cell(row.get(name)) for name in names] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), "utf-8")
    return path


def jsonl(path: pathlib.Path, rows: list[Mapping]) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def picture_file(path: pathlib.Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number))


def _lettered(count: int = 4) -> dict[str, str]:
    return dict(zip("ABCDE", (*OPTIONS, "none of them")[:count]))


def _mathvista(folder):
    common = {"unit": None, "metadata": {"task": "geometry", "grade": "x"}, "query": "long"}
    rows = [
        {"pid": "1", "question": "Which?", "image": "images/1.jpg", "choices": list(OPTIONS),
         "precision": None, "answer": "cotton", "question_type": "multi_choice",
         "answer_type": "text"},
        {"pid": "2", "question": "How long?", "image": "images/2.jpg", "choices": None,
         "precision": 1.0, "answer": "1.2", "question_type": "free_form", "answer_type": "float",
         "unit": "m"},
        {"pid": "3", "question": "How many?", "image": "images/3.jpg", "choices": None,
         "precision": None, "answer": "14", "question_type": "free_form",
         "answer_type": "integer"},
    ]  # fmt: skip
    rows = [{**common, **row, "decoded_image": stored(n)} for n, row in enumerate(rows)]
    return parquet(folder / "data" / "testmini-00000-of-00001.parquet", rows).parents[1]


def _mathvista_tsv(folder):
    query = "Hint: Please answer with the letter.\nQuestion: Which?\nChoices:\n(A) rubber\n(B) x"
    number = (
        "Hint: Please answer the question requiring a floating-point number with one decimal place "
        "and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.\nQuestion: How long?"
    )
    kinds = {"task": "geometry", "skills": "['x']"}
    rows = [
        {"index": 1, "question": query, "answer": "cotton", "answer_option": "B", **kinds,
         "choices": str(list(OPTIONS)), "question_type": "multi_choice", "answer_type": "text"},
        {"index": 2, "question": number, "answer": "1.2", "choices": "", "answer_option": "",
         "question_type": "free_form", "answer_type": "float", **kinds},
    ]  # fmt: skip
    return tsv(folder / "MathVista_MINI.tsv", [{**r, "image": encoded(1)} for r in rows])


def _mathvision(folder):
    rows = [
        {"id": "1", "question": "What is <image1>?", "options": list("ABCDE"), "answer": "B",
         "solution": None, "level": 1, "subject": "algebra"},
        {"id": "2", "question": "How many?\n<image1>", "options": [], "answer": "2\\pi",
         "solution": None, "level": 2, "subject": "counting"},
    ]  # fmt: skip
    rows = [{**row, "image": "images/1.jpg", "decoded_image": stored(1)} for row in rows]
    return parquet(folder / "test-00000-of-00001.parquet", rows).parent


def _mathvision_tsv(folder):
    rows = [
        {"index": 1, "question": "Which <image1>?", "choices": "['3', '4', '5', '6', '7']",
         "answer": "D", "category": "algebra", "image": encoded(1)},
        {"index": 2, "question": "How many?", "choices": "[]", "answer": "12",
         "category": "counting", "image": encoded(2)},
    ]  # fmt: skip
    return tsv(folder / "MathVision.tsv", rows)


def _scienceqa(folder):
    common = {"question": "Which?", "choices": list(OPTIONS), "task": "x", "grade": "grade2",
              "topic": "t", "category": "c", "skill": "s", "lecture": ""}  # fmt: skip
    rows = [
        {**common, "image": stored(1), "answer": 2, "hint": "Read this.", "subject": "physics"},
        {**common, "image": None, "answer": 0, "hint": "", "subject": "biology"},
    ]
    return parquet(folder / "test-00000-of-00001.parquet", rows).parent


def _scienceqa_tsv(folder):
    row = {"index": 7, "image": encoded(1), "hint": "Read this.", "question": "Which?"}
    return tsv(folder / "ScienceQA_TEST.tsv", [{**row, **_lettered(), "answer": "C"}])


def _hallusion(folder):
    keys = ("category", "subcategory", "set_id", "figure_id", "question_id")
    rows = []
    for number, at in enumerate(["VD_ocr_0_0_0", "VD_ocr_0_1_0", "VS_map_1_0_0", "VS_map_1_1_0"]):
        named = dict(zip(keys, at.split("_")))
        has_figure = not at.startswith("VS_map_1_0")
        rows.append(
            {**named, "question": "Is it?", "gt_answer": str(number % 2), "filename": None,
             "visual_input": str(int(has_figure)), "sample_note": "x", "gt_answer_details": "y",
             "image": stored(number) if has_figure else None}
        )  # fmt: skip
    return parquet(folder / "image-00000-of-00001.parquet", rows).parent


def _hallusion_tsv(folder):
    rows = [
        {"index": f"{number}_{at}", "question": "Is it?", "answer": answer, "category": "VD",
         "l2-category": "VD_ocr", "image": encoded(number)}
        for number, (at, answer) in enumerate([("VD_ocr_0_0_0", "No"), ("VD_ocr_0_1_0", "Yes")])
    ]  # fmt: skip
    return tsv(folder / "HallusionBench.tsv", rows)


def _docvqa(folder):
    rows = [
        {"questionId": str(n), "question": "What?", "question_types": ["t"], "image": stored(n),
         "docId": n, "answers": ["one", "uno"], "data_split": "val"}
        for n in range(2)
    ]  # fmt: skip
    return parquet(folder / "validation-00000-of-00001.parquet", rows).parent


def _docvqa_tsv(folder):
    rows = [
        {"index": 1, "question": "What?", "answer": "['one', 'it''s']".replace("''", "\\'"),
         "image": encoded(1)},
        {"index": 2, "question": "Where?", "answer": '["it\'s here"]', "image": 1},
    ]  # fmt: skip
    return tsv(folder / "DocVQA_VAL.tsv", rows)


def _textvqa(folder):
    rows = [
        {"question_id": n, "image_id": "x", "question": "what?", "image": stored(n),
         "ocr_tokens": ["a"], "answers": ["nokia"] * 10}
        for n in range(2)
    ]  # fmt: skip
    return parquet(folder / "data" / "validation-00000-of-00001.parquet", rows).parents[1]


def _textvqa_tsv(folder):
    row = {"index": 1, "question": "what?", "image": encoded(1), "answer": str(["nokia"] * 10)}
    return tsv(folder / "TextVQA_VAL.tsv", [row])


def _gqa(folder):
    pictures = [{"id": f"n{n}", "image": stored(n)} for n in range(2)]
    parquet(folder / "testdev_balanced_images" / "testdev-00000-of-00001.parquet", pictures)
    rows = [
        {"id": str(n), "imageId": f"n{1 - n % 2}", "question": "Is it?", "answer": "yes"}
        for n in range(3)
    ]
    parquet(folder / "testdev_balanced_instructions" / "testdev-00000-of-00001.parquet", rows)
    return folder


def _gqa_tsv(folder):
    rows = [
        {"index": 5, "question": "Is it?", "answer": "yes", "image": encoded(1)},
        {"index": 6, "question": "Who?", "answer": "man", "image": "5"},
    ]
    return tsv(folder / "GQA_TestDev_Balanced.tsv", rows)


def _vsr(folder):
    rows = [
        {"image": f"{n}.jpg", "image_link": "http://x", "caption": "The cat is on the mat.",
         "label": n, "relation": "on"}
        for n in range(2)
    ]  # fmt: skip
    for n in range(2):
        picture_file(folder / f"{n}.jpg", n)
    return jsonl(folder / "test.jsonl", rows).parent


def _vsr_tsv(folder):
    row = {"index": 1, "question": "Is the cat on the mat?", "answer": "Yes", "image": encoded(1)}
    return tsv(folder / "VSR-zeroshot.tsv", [row])


def _mmmu(folder):
    empty = {f"image_{n}": None for n in range(1, 8)}
    rows = [
        {**empty, "id": "validation_Art_1", "question": "<image 2> or <image 1>?",
         "options": "['red <image 1>', \"it's blue\"]", "answer": "B", "explanation": "",
         "image_1": stored(1), "image_2": stored(2), "question_type": "multiple-choice",
         "subfield": "x"},
        {**empty, "id": "validation_Physics_Lab_2", "question": "How many? <image 1>",
         "options": "[]", "answer": "['8', 'eight']", "image_1": stored(3), "explanation": "",
         "question_type": "open", "subfield": "y"},
    ]  # fmt: skip
    return parquet(folder / "validation-00000-of-00001.parquet", rows).parent


def _mmmu_tsv(folder):
    many = str([encoded(1), encoded(2)])
    rows = [
        {"index": 1, "image": many, "question": "<image 1> vs <image 2>?", "A": "same",
         "B": "differ", "answer": "A", "category": "Art", "split": "validation"},
        {"index": 2, "image": encoded(3), "question": "How many?", "A": "8", "B": "Other Answers",
         "answer": "A", "category": "Physics", "split": "validation"},
    ]  # fmt: skip
    return tsv(folder / "MMMU_DEV_VAL.tsv", rows)


def _mmstar(folder):
    asked = "Which is it?\nOptions: A: rubber, B: cotton, C: kevlar, D: leather"
    rows = [
        {"index": n, "question": asked, "image": stored(n), "answer": "C", "category": "math",
         "l2_category": f"kind {n}", "meta_info": {"source": "x"}}
        for n in range(2)
    ]  # fmt: skip
    return parquet(folder / "val.parquet", rows)


def _mmstar_tsv(folder):
    row = {"index": 3, "question": "Which is it?", **_lettered(), "answer": "C", "category": "math",
           "l2_category": "numeric", "image": encoded(1)}  # fmt: skip
    return tsv(folder / "MMStar.tsv", [row])


def _mme_realworld(folder):
    options = [f"({letter}) {one}" for letter, one in _lettered(5).items()]
    row = {"index": "7", "bytes": encoded(1), "question": "Which?", "answer": "E",
           "multi-choice options": options, "category": "Perception/OCR"}  # fmt: skip
    return parquet(folder / "data" / "train-00000-of-00001.parquet", [row]).parents[1]


def _mme_realworld_tsv(folder):
    listed = (
        "The choices are listed below:\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather\n(E) none"
    )
    row = {"index": 7, "image": encoded(1), "question": "Which?", "multi-choice options": listed,
           "answer": "E", "category": "Reasoning/Monitoring", "l2-category": "x"}  # fmt: skip
    return tsv(folder / "MME-RealWorld-Lite.tsv", [row])


def _vstar(folder):
    listed = "\n".join(f"({letter}) {one}" for letter, one in _lettered().items())
    asked = (
        f"What is the material of the glove?\n{listed}\nAnswer with the option's letter directly."
    )
    rows = [
        {"image": f"direct_attributes/{n}.jpg", "text": asked, "category": "direct_attributes",
         "label": "A", "question_id": n}
        for n in range(2)
    ]  # fmt: skip
    for row in rows:
        picture_file(folder / row["image"], row["question_id"])
    return jsonl(folder / "test_questions.jsonl", rows)


def _vstar_tsv(folder):
    row = {"index": 1, "image": encoded(1), "question": "What is it made of?", **_lettered(),
           "answer": "A", "category": "direct_attributes"}  # fmt: skip
    return tsv(folder / "VStarBench.tsv", [row])


def _hrbench(folder):
    rows = [
        {"index": n, "question": "Which?", "answer": "ABCD"[n], "category": "single",
         **dict(zip("ABCD", (*OPTIONS[-n:], *OPTIONS)[:4] if n else OPTIONS)),
         "cycle_category": str(n), "image": encoded(1)}
        for n in range(4)
    ]  # fmt: skip
    return parquet(folder / "hrbench_4k.parquet", rows)


def _hrbench_tsv(folder):
    row = {"index": 0, "question": "Which?", "answer": "B", "category": "cross", **_lettered(),
           "cycle_category": 0, "image": encoded(1)}  # fmt: skip
    return tsv(folder / "hr_bench_4k.tsv", [row])


def _mmvp(folder):
    rows = [f"{n},Open or closed?,(a) Open (b) Closed,({'ab'[n % 2]})" for n in (1, 2, 3, 4)]
    text = "\n".join(["Index,Question,Options,Correct Answer", *rows])
    (folder / "Questions.csv").write_text(text + "\n")
    for n in (1, 2, 3, 4):
        picture_file(folder / "MMVP Images" / f"{n}.jpg", n)
    return folder


def _mmvp_tsv(folder):
    rows = [
        {"index": n, "question": "Open or closed?", "A": "Open", "B": "Closed",
         "answer": "AB"[n % 2], "image": encoded(n)}
        for n in (1, 2)
    ]  # fmt: skip
    return tsv(folder / "MMVP.tsv", rows)


def _cvbench(folder):
    rows = [
        {"idx": n, "type": kind, "task": "Count", "question": "How many?", "choices": ["0", "1"],
         "answer": "(B)", "prompt": "x", "filename": f"img/{n}.png", "source": source}
        for n, (kind, source) in enumerate([("2D", "ADE20K"), ("2D", "COCO"), ("3D", "Omni3D")])
    ]  # fmt: skip
    stored_rows = [{**row, "image": stored(row["idx"])} for row in rows]
    for kind, those in (("2d", slice(2)), ("3d", slice(2, 3))):
        jsonl(folder / f"test_{kind}.jsonl", rows[those])
        parquet(folder / f"test_{kind}.parquet", stored_rows[those])
    return folder


def _cvbench_tsv(folder):
    row = {"index": 1, "split": "3D", "question": "Which?", "choices": "['0', '1']",
           "answer": "(B)", "source": "Omni3D", "image": encoded(1)}  # fmt: skip
    return tsv(folder / "CV-Bench-3D.tsv", [row])


def _mmk12(folder):
    rows = [
        {"id": f"k{n}", "question": "<image>Find x.", "answer": answer, "subject": "math",
         "image": stored(n)}
        for n, answer in enumerate(["$\\frac{1}{2}$", "B"])
    ]  # fmt: skip
    return parquet(folder / "test-00000-of-00001.parquet", rows).parent


SNAPSHOTS: Mapping[tuple[str, str], Callable[[pathlib.Path], pathlib.Path]] = {
    ("MathVista", "hf"): _mathvista,
    ("MathVista", "tsv"): _mathvista_tsv,
    ("MathVision", "hf"): _mathvision,
    ("MathVision", "tsv"): _mathvision_tsv,
    ("ScienceQA", "hf"): _scienceqa,
    ("ScienceQA", "tsv"): _scienceqa_tsv,
    ("HallusionBench", "hf"): _hallusion,
    ("HallusionBench", "tsv"): _hallusion_tsv,
    ("DocVQA", "hf"): _docvqa,
    ("DocVQA", "tsv"): _docvqa_tsv,
    ("InfographicVQA", "hf"): _docvqa,
    ("InfographicVQA", "tsv"): _docvqa_tsv,
    ("TextVQA", "hf"): _textvqa,
    ("TextVQA", "tsv"): _textvqa_tsv,
    ("GQA", "hf"): _gqa,
    ("GQA", "tsv"): _gqa_tsv,
    ("VSR", "hf"): _vsr,
    ("VSR", "tsv"): _vsr_tsv,
    ("MMMU", "hf"): _mmmu,
    ("MMMU", "tsv"): _mmmu_tsv,
    ("MMStar", "hf"): _mmstar,
    ("MMStar", "tsv"): _mmstar_tsv,
    ("MME-RealWorld", "hf"): _mme_realworld,
    ("MME-RealWorld", "tsv"): _mme_realworld_tsv,
    ("V*", "hf"): _vstar,
    ("V*", "tsv"): _vstar_tsv,
    ("HR-Bench", "hf"): _hrbench,
    ("HR-Bench", "tsv"): _hrbench_tsv,
    ("MMVP", "hf"): _mmvp,
    ("MMVP", "tsv"): _mmvp_tsv,
    ("CV-Bench", "hf"): _cvbench,
    ("CV-Bench", "tsv"): _cvbench_tsv,
    ("MMK12", "hf"): _mmk12,
}
"""What writes each into a folder, and returns what is named as its data."""
