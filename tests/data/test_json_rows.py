"""Rows are read one by one as if the whole file had been decoded, whatever it is cut into."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from r3jax.data import json_rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@hypothesis.settings(max_examples=40)
@hypothesis.given(st.lists(VALUES, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_a_list_has_the_rows_that_json_finds_and_the_lines_that_they_begin_in(
    tmp_path_factory, rows, indent, ascii
):
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "PART", 7)  # every value is cut somewhere
        found = list(json_rows.read(path))
    assert [row.value for row in found] == rows
    assert [row.where for row in found] == [f"{path}, row {n}" for n in range(len(rows))]
    if indent:
        starts = [text.split("\n")[row.line - 1] for row in found]
        assert all(line.startswith(" ") and not line.startswith("  ") for line in starts)


@pytest.mark.parametrize(
    ("text", "rows", "message"),
    [
        ('[{"a": 1}, {"a": ', 1, "not JSON from row 1 in line 1 on"),
        ('[{"a": 1},\n {"a" 2}, {"a": 3}]', 1, "not JSON from row 1 in line 2 on"),
        ('[{"a": 1} {"a": 2}]', 0, "expected a comma or ] behind the row, found {"),
        ("[1, 2,]", 1, "a comma before the end of the list"),
        ("[1] 2", 1, "something follows the list"),
        ("", 0, "found nothing"),
        ("[", 0, "not JSON from row 0"),
        ('"rows"', 0, "expected a JSON list of rows, found text"),
    ],
)
def test_what_is_no_list_is_an_error_behind_the_rows_that_are_whole(tmp_path, text, rows, message):
    path = tmp_path / "rows.json"
    path.write_text(text)
    found = []
    with pytest.raises(json_rows.RowError) as told:
        for row in json_rows.read(path):
            found.append(row)
    assert len(found) == rows and message in str(told.value)


def test_a_file_is_read_in_the_memory_of_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "PART", 1000)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": "x" * 300}] * 500))
    held = []
    more = json_rows._Text._more

    def measured(text):
        held.append(len(text._text) - text._at)
        return more(text)

    monkeypatch.setattr(json_rows._Text, "_more", measured)
    assert sum(1 for _ in json_rows.read(path)) == 500
    assert len(held) > 100 and max(held) < 1000
