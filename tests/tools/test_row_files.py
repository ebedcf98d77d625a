import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tunesmith.tools.base import BadRequest
from tunesmith.tools.raw_rows import MAX_ROW_BYTES
from tunesmith.tools.row_files import read_file

ROWS = [{"question": 'Ünï\n"quoted", ok?', "answer": "ja"}, {"question": "b", "answer": "2"}]


def read(path: Path) -> list[dict[str, Any]]:
    rows = list(read_file(path, path.name))
    assert all(row.problem is None for row in rows), rows
    return [row.values for row in rows]


def problems(path: Path) -> list[str]:
    return [f"{row.place}: {row.problem}" for row in read_file(path, path.name) if row.problem]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_six_formats_give_the_same_rows(tmp_path: Path) -> None:
    lines = "\n".join(map(json.dumps, ROWS))
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "a.parquet")
    for name, writer in (("a.arrow", pa.ipc.new_file), ("stream.arrow", pa.ipc.new_stream)):
        with writer(str(tmp_path / name), table.schema) as sink:
            sink.write_table(table)
    write(tmp_path / "a.jsonl", lines + "\n\n")
    write(tmp_path / "bom.jsonl", b"\xef\xbb\xbf" + lines.encode())
    write(tmp_path / "lines.json", lines)
    write(tmp_path / "a.json", json.dumps(ROWS, indent=1, ensure_ascii=False))
    write(tmp_path / "a.csv", 'question,answer\n"Ünï\n""quoted"", ok?",ja\r\nb,2\n')
    write(tmp_path / "semicolon.csv", 'question;answer\n"Ünï\n""quoted"", ok?";ja\nb;2\n')
    for path in sorted(tmp_path.iterdir()):
        assert read(path) == ROWS, path.name


def test_a_text_file_is_paragraphs_or_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "one\ntwo\n\n\nthree\n")) == [{"text": "one\ntwo"}, {"text": "three"}]
    assert read(write(tmp_path / "b.txt", "\none\ntwo\n\n")) == [{"text": "one"}, {"text": "two"}]


def test_items_of_an_array_are_found_across_reads(tmp_path: Path) -> None:
    rows = [{"text": "x" * size, "n": size} for size in (1, 700_000, 1_500_000, 3, 2_000_000)]
    path = write(tmp_path / "a.json", json.dumps(rows, indent=2))
    assert read(path) == rows


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    content = (
        b'{"text": "a"}\n{"text": \n[1]\n{"text": "\xff"}\n{"text": "a\x00b"}\n' + b"[" * 100_000 + b'\n{"text": "z"}\n'
    )
    path = write(tmp_path / "a.jsonl", content)
    assert problems(path) == [
        "`a.jsonl` line 2: not JSON: Expecting value at column 9",
        "`a.jsonl` line 3: it is an array, not an object with named columns",
        "`a.jsonl` line 4: byte 0xff at position 11 is not UTF-8; save the file as UTF-8",
        "`a.jsonl` line 5: there is a NUL byte at position 12; remove it",
        "`a.jsonl` line 6: the JSON is nested too deeply",
    ]
    assert [row.values for row in read_file(path, "x.jsonl") if not row.problem] == [{"text": "a"}, {"text": "z"}]


def test_a_broken_item_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[\n{"text":\n "a"},\n 3,\n{"text": "b"}\n]')
    assert problems(path) == ["`a.json` line 4: it is a number, not an object with named columns"]


def test_rows_on_one_line_are_told_apart_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"a": 2}, 3]')
    assert problems(path) == ["`a.json` line 1 row 3: it is a number, not an object with named columns"]


def test_a_csv_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'a,b\n1,2\n1,2,3\n\n"x\ny",2\n1\n\xff,2\n"x"y,2\n3,4\n')
    assert problems(path) == [
        "`a.csv` line 3: it has 3 fields, the header has 2",
        "`a.csv` line 7: it has 1 fields, the header has 2",
        "`a.csv` line 8: byte 0xff at position 1 is not UTF-8; save the file as UTF-8",
        "`a.csv` line 9: not CSV: ',' expected after '\"'",
    ]
    assert [row.values["a"] for row in read_file(path, "a.csv") if not row.problem] == ["1", "x\ny", "3"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\x1f\x8b\x08 rows", "is gzip, not UTF-8 text"),
        ("a.jsonl", b"PAR1 rows PAR1", "is Parquet, not UTF-8 text"),
        ("a.csv", "a,b\n1,2".encode("utf-16"), "is UTF-16 text"),
        ("a.txt", bytes(range(256)) * 10 + bytes(1000), "holds binary data"),
        ("a.jsonl", random.Random(0).randbytes(3000), "holds binary data"),
        ("a.json", b'"text"', "is not an array of objects"),
        ("a.json", b'{"data": [\n{"text": "a"}]}', "holds one object, not an array of objects"),
        ("a.json", b'[{"text": "a"}', "line 1: not JSON: a comma or the closing bracket is missing"),
        ("a.json", b'[{"text": "a"},', "the array is not closed"),
        ("a.json", b'[{"text": "a"},]', "line 1: not JSON"),
        ("a.json", b'[{"text": "a"}\n{"text": "b"}]', "line 2: not JSON: a comma"),
        ("a.json", b'[{"text": "a"}] tail', "more text after the end"),
        ("a.json", b'[{"text":\n nope}]', "line 2: not JSON: Expecting value"),
        ("a.json", b'[{"text": "\xff"}]', "not UTF-8"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.csv", b"a,a\n1,2", "column names, each once"),
        ("a.parquet", b"PAR1 not really", "is not a readable Parquet file"),
        ("a.arrow", b"ARROW1 not really", "is not a readable Arrow file"),
        ("a.arrow", b"nothing of the sort", "is not a readable Arrow file"),
        ("a.xlsx", b"PK", "ends in `.xlsx`; a data file ends in .jsonl, .json"),
        ("notes", b"x", "has no extension"),
        ("a.jsonl.gz", b"x", "ends in `.gz`"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(BadRequest) as caught:
        list(read_file(path, name))
    assert reason in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"`a\.jsonl` is missing"):
        list(read_file(tmp_path / "a.jsonl", "a.jsonl"))
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(BadRequest, match=r"`b\.jsonl` is not a file"):
        list(read_file(tmp_path / "b.jsonl", "b.jsonl"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_a_line_of_100_mb_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    starts = {"a.jsonl": b'{"text": "', "a.json": b'[{"text": "', "a.csv": b'text\n"', "a.txt": b""}
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.write(starts[name])
        for _ in range(100):
            stream.write(b"a" * 1_000_000)
    tracemalloc.start()
    try:
        try:
            reasons = " ".join(problems(path))
        except BadRequest as error:
            reasons = str(error)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"{MAX_ROW_BYTES // 1_000_000} MB" in reasons
    assert f"`{name}` line" in reasons
    assert peak < 8 * MAX_ROW_BYTES
