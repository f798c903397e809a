"""Tables of others: what each kind of file holds, images left where they are."""

import base64
import io
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from r3jax.data import images, snapshots, tables


def png(level: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(level).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def base64_of(level: int) -> str:
    return base64.b64encode(png(level)).decode()


def pixels(source: images.ImageSource) -> np.ndarray:
    return images.open_image(source)


def same(source: images.ImageSource, level: int) -> bool:
    return np.array_equal(pixels(source), np.asarray(Image.open(io.BytesIO(png(level)))))


def test_parquet_gives_values_and_opens_images_of_any_row_in_any_order(tmp_path):
    rows = 7
    table = pyarrow.table(
        {
            "question": [f"q{n}" for n in range(rows)],
            "image": [{"bytes": png(n), "path": f"{n}.png"} for n in range(rows)],
            "image_2": [{"bytes": png(9), "path": None} if n == 2 else None for n in range(rows)],
            "pictures": [
                [{"bytes": png(n + k), "path": None} for k in range(n % 3)] for n in range(rows)
            ],
            "bytes": [base64_of(20 + n) for n in range(rows)],
            "choices": [["a", "b"]] * rows,
        }
    )
    path = tmp_path / "test.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    found = tables.read(path)
    assert [row.where for row in found] == [f"{path}, row {n}" for n in range(rows)]
    assert [row.values["question"] for row in found] == [f"q{n}" for n in range(rows)]
    assert found[0].values["choices"] == ["a", "b"]
    for n in (6, 0, 4, 3, 1):
        values = found[n].values
        assert same(values["image"], n) and same(values["bytes"], 20 + n)
        assert [same(one, n + k) for k, one in enumerate(values["pictures"])] == [True] * (n % 3)
    assert [row.values["image_2"] is not None for row in found] == [n == 2 for n in range(rows)]
    assert same(found[2].values["image_2"], 9)


def test_separated_text_opens_images_from_its_own_row(tmp_path):
    path = tmp_path / "bench.tsv"
    texts = ["one", 'two\nlines, and "quotes"', "ümläut"]
    lines = ["\ufeffindex\tquestion\timage"]
    for n, text in enumerate(texts):
        quoted = '"' + text.replace('"', '""') + '"'
        lines.append(f"{n}\t{quoted}\t{base64_of(n)}")
    lines.append("")
    lines.append(f"3\tsame\t0\n4\tmany\t\"['{base64_of(5)}', '{base64_of(6)}']\"")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = tables.read(path)
    assert [row.values["question"] for row in found] == [*texts, "same", "many"]
    assert [row.values["index"] for row in found] == list("01234")
    assert all(same(found[n].values["image"], n) for n in (2, 0, 1))
    assert found[3].values["image"] == "0"
    assert [same(one, level) for one, level in zip(found[4].values["image"], (5, 6))] == [True] * 2


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"version": 1, "data": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        ('{"07": {"a": 1}, "08": {"a": 2}}', [{"id": "07", "a": 1}, {"id": "08", "a": 2}]),
        ('\ufeff[{"a": 1}]', [{"a": 1}]),
    ],
)
def test_rows_in_an_object_are_rows(tmp_path, text, rows):
    path = tmp_path / "train.json"
    path.write_text(text, "utf-8")
    assert [row.values for row in tables.read(path)] == rows


def test_a_name_of_an_image_is_looked_up_in_the_folder_and_nowhere_else(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"image": "a.png"}) + "\n\n" + json.dumps({"image": "../b"}) + "\n")
    inside, outside = tables.read(path)
    assert same(inside.image(inside.values["image"]), 1)
    assert outside.where == f"{path}, line 3"
    with pytest.raises(images.ImageError, match="outside"):
        outside.image(outside.values["image"])
    with pytest.raises(tables.TableError, match="expected an image"):
        inside.image(None)
    assert same(inside.image(base64_of(4)), 4)


def test_a_folder_stands_for_the_files_of_the_split_that_is_asked_for(tmp_path):
    for name in ("test-00000-of-00002", "test-00001-of-00002", "validation-00000-of-00001"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    names = [path.name for path in snapshots.files(tmp_path, [("testmini",), ("test",)])]
    assert names == ["test-00000-of-00002.jsonl", "test-00001-of-00002.jsonl"]
    with pytest.raises(tables.TableError, match="has test, validation: expected dev"):
        snapshots.files(tmp_path, [("dev",)])
    (only := tmp_path / "only").mkdir()
    (only / "questions.jsonl").write_text("{}\n")
    assert snapshots.files(only, [("test",)]) == [only / "questions.jsonl"]
    (converted := tmp_path / "validation").mkdir()
    for name in ("0000.jsonl", "0001.jsonl"):
        (converted / name).write_text("{}\n")
    assert len(snapshots.files(converted, [("validation",)])) == 2
    (both := tmp_path / "both").mkdir()
    for name in ("test_2d.jsonl", "test_2d.parquet", "test_3d.parquet"):
        (both / name).touch()
    found = snapshots.files(both, [("test",), ("test_2d", "test_3d")])
    assert [path.name for path in found] == ["test_2d.parquet", "test_3d.parquet"]
    (nested := tmp_path / "nested" / "Art").mkdir(parents=True)
    (nested / "dev-00000-of-00001.jsonl").touch()
    assert len(snapshots.files(nested.parent, [("dev",)], nested=True)) == 1
    with pytest.raises(tables.TableError, match="name the folder that does"):
        snapshots.files(nested.parent, [("dev",)])


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.xlsx", "x", "expected a file that ends with .parquet"),
        ("a.json", '{"a": 1}', "expected a JSON list"),
        ("a.jsonl", '{"a": 1}\n{"a"', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object, found list"),
        ("a.tsv", "a\tb\n1\t2\n3\n", "a.tsv, line 3: expected 2 values, found 1"),
        ("a.csv", "a,b\n", "holds no rows"),
        ("a.parquet", "no", "not a parquet file"),
        ("a.json", b"\xff\xfe", "save it as UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        tables.read(path)


def test_damaged_base64_is_an_image_error_of_its_row(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("index\timage\n0\t" + "?" * 2000 + "\n")
    (row,) = tables.read(path)
    with pytest.raises(images.ImageError, match="line 2: expected a whole image"):
        pixels(row.values["image"])
