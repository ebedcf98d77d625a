import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.base import BadRequest, on_event
from tunesmith.tools.dataset_folder import ROWS_PER_SHARD, read_card, read_rows
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, PreparedDataset, prepare_dataset
from tunesmith.tools.process import run_tool
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.shapes import prompt_text

TICKETS = Path(__file__).resolve().parents[2] / "examples" / "tickets.jsonl"


def prepare(source: Path | str, **arguments: Any) -> PreparedDataset:
    return prepare_dataset(PrepareDatasetInput(source=str(source), **{"output_dir": "out", **arguments}))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {number} plus one?", "answer": str(number + 1)} for number in range(start, start + count)
    ]


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    on_event(seen.append)
    yield seen
    on_event(None)


def notes(events: list[dict[str, Any]]) -> str:
    return "\n".join(event["text"] for event in events if event["event"] == "note")


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# What goes wrong


def test_the_first_five_broken_rows_are_named_and_nothing_is_written(workdir: Path) -> None:
    rows = questions(20)
    for number in range(2, 14, 2):
        rows[number] = {"question": f"What is {number}?"}
    write_rows(workdir / "rows.jsonl", rows)
    with pytest.raises(BadRequest) as caught:
        prepare("rows.jsonl")
    text = str(caught.value)
    assert [f"line {line}:" in text for line in (3, 5, 7, 9, 11, 13)] == [True] * 5 + [False]
    assert "on_bad_rows=skip" in text
    assert names_in(workdir) == ["rows.jsonl"]


def test_broken_rows_are_dropped_and_counted_where_that_is_wanted(workdir: Path) -> None:
    rows: list[dict[str, Any]] = [*questions(30), {"question": "?", "answer": 3}, {"text": "stray"}]
    result = prepare(write_rows(workdir / "rows.jsonl", rows), on_bad_rows="skip")
    assert (result.rows + result.heldout_rows, result.skipped) == (30, 2)
    assert read_card("out/train")["skipped"] == 2


def test_skipping_broken_rows_needs_at_least_one_good_one(workdir: Path) -> None:
    write_rows(workdir / "rows.jsonl", [{"question": "?", "answer": 3}] * 9)
    with pytest.raises(BadRequest, match="line 1: `answer` must be text"):
        prepare("rows.jsonl", on_bad_rows="skip")


def test_rows_of_two_shapes_are_not_mixed(workdir: Path) -> None:
    write_rows(workdir / "rows.jsonl", [*questions(3), {"instruction": "Add", "output": "1"}])
    with pytest.raises(BadRequest, match="line 4: it is of the shape alpaca, the rows before are question_answer"):
        prepare("rows.jsonl")


def test_half_a_surrogate_pair_is_a_broken_row(workdir: Path) -> None:
    (workdir / "rows.jsonl").write_text('{"text": "\\ud83d"}\n')
    with pytest.raises(BadRequest, match="line 1: a text holds half a surrogate pair"):
        prepare("rows.jsonl")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("missing.jsonl", "`missing.jsonl` does not exist"),
        ("./missing", "`./missing` does not exist"),
        ("missing", "`missing` is no file here, and the hub"),
        ("strange.jsonl", "has the columns `choices`, `gold`, which are of no known shape; known are preference"),
        ("blank.jsonl", "`blank.jsonl` has no rows"),
        ("folder", "`folder` holds no data file; a data file ends in .jsonl"),
        ("notes.docx", "ends in `.docx`"),
        ("http://example.org/rows.jsonl", "http:// is not protected; use https://"),
        ("ftp://example.org/rows.jsonl", "`ftp://` is unknown"),
        ("huggingface://", "`huggingface://` names no source"),
        ("  ", "names no source"),
        ("out/heldout/rows.jsonl", "lies in its own output"),
    ],
)
def test_a_source_without_usable_rows_is_named(workdir: Path, source: str, reason: str) -> None:
    write_rows(workdir / "strange.jsonl", [{"choices": [], "gold": 1}] * 7)
    (workdir / "blank.jsonl").write_text("\n\n")
    (workdir / "notes.docx").write_bytes(b"PK")
    (workdir / "folder").mkdir()
    (workdir / "folder" / "README.md").write_text("no rows here")
    before = names_in(workdir)
    with pytest.raises(BadRequest) as caught:
        prepare(source)
    assert reason in str(caught.value)
    assert names_in(workdir) == before


@pytest.mark.parametrize("split", ["heldout", "..", "a/b", ".hidden", "x.partial", ""])
def test_a_split_is_a_plain_name(split: str) -> None:
    with pytest.raises(BadRequest, match="`split` is"):
        TOOLS["prepare_dataset"].validate({"source": "x", "split": split})


def test_an_output_that_holds_something_else_is_left_alone(workdir: Path) -> None:
    write_rows(workdir / "rows.jsonl", questions(40))
    (workdir / "out" / "train").mkdir(parents=True)
    (workdir / "out" / "train" / "precious.txt").write_text("mine")
    with pytest.raises(BadRequest, match="`out/train` exists already"):
        prepare("rows.jsonl")
    assert names_in(workdir / "out") == ["train", "train/precious.txt"]
    with pytest.raises(BadRequest, match=r"`rows\.jsonl` is a file"):
        prepare("rows.jsonl", output_dir="rows.jsonl")
    with pytest.raises(BadRequest, match=r"`rows\.jsonl/deep/out` can't be written to"):
        prepare("rows.jsonl", output_dir="rows.jsonl/deep/out")


def test_a_prepared_dataset_of_other_rows_is_left_alone(workdir: Path) -> None:
    prepare(write_rows(workdir / "rows.jsonl", questions(40)))
    before = {name: (workdir / "out" / name).stat().st_mtime_ns for name in names_in(workdir / "out")}
    with pytest.raises(BadRequest, match="exists already"):
        prepare("rows.jsonl", seed=7)
    write_rows(workdir / "rows.jsonl", questions(41))
    with pytest.raises(BadRequest, match=r"was prepared from `.*` when that held other rows"):
        prepare(workdir / "rows.jsonl")
    assert {name: (workdir / "out" / name).stat().st_mtime_ns for name in names_in(workdir / "out")} == before


# What is written


def test_the_example_data_is_prepared(workdir: Path, events: list[dict[str, Any]]) -> None:
    result = prepare(TICKETS, output_dir="data/", tokenizer=None)
    assert (result.rows, result.heldout_rows, result.shape) == (270, 30, "alpaca")
    assert (result.dataset, result.heldout) == ("data/train", "data/heldout")
    files = ["README.md", "metadata.json", "part-00000.parquet"]
    assert names_in(workdir / "data" / "train") == names_in(workdir / "data" / "heldout") == files
    assert len(names_in(workdir / "data")) == 8
    card = read_card("data/train")
    assert card["kind"] == "messages"
    assert card["heldout"] == "../heldout"
    assert card["sha256"] == result.sha256
    assert card["arguments"]["seed"] == 42
    readme = (workdir / "data/train/README.md").read_text()
    for fact in ("| rows | 270 |", "alpaca", result.sha256, "p95", "duplicates dropped"):
        assert fact in readme
    samples = [event for event in events if event["event"] == "sample"]
    assert len(samples) == 3
    assert samples[0]["before"]["instruction"].startswith("Triage")
    assert samples[0]["after"]["messages"][0]["role"] == "user"
    assert "270 training rows in data/train, 30 held-out rows in data/heldout (read as alpaca)" in result.summary()


def test_no_question_stands_on_both_sides(workdir: Path) -> None:
    for seed in range(8):
        random_ = random.Random(seed)
        rows = questions(random_.randrange(40, 300))
        variants = [{**row, "question": row["question"].upper().replace(" ", "  "), "answer": "?"} for row in rows[::5]]
        rows += variants
        random_.shuffle(rows)
        result = prepare(write_rows(workdir / f"{seed}.jsonl", rows), output_dir=f"out{seed}", seed=seed)
        train, heldout = read_rows(result.dataset), read_rows(str(result.heldout))
        assert not {prompt_text(row) for row in train} & {prompt_text(row) for row in heldout}
        assert len(train) + len(heldout) == len(rows)
        assert len(heldout) == result.heldout_rows >= 20


def test_the_order_of_the_rows_does_not_move_the_held_out_part(workdir: Path) -> None:
    rows = questions(150)
    first = prepare(write_rows(workdir / "a.jsonl", rows), output_dir="a")
    random.Random(1).shuffle(rows)
    second = prepare(write_rows(workdir / "b.jsonl", rows), output_dir="b")

    def held(result: PreparedDataset) -> set[str]:
        return {prompt_text(row) for row in read_rows(str(result.heldout))}

    assert held(first) == held(second)


def test_duplicates_are_dropped_and_counted(workdir: Path) -> None:
    result = prepare(write_rows(workdir / "rows.jsonl", questions(30) + questions(10)))
    assert (result.rows + result.heldout_rows, result.duplicates) == (30, 10)
    assert "10 duplicates dropped" in result.summary()


@pytest.mark.parametrize(("count", "held"), [(9, 0), (10, 5), (39, 19), (40, 20), (230, 23)])
def test_few_rows_have_a_small_held_out_part_or_none(
    workdir: Path, events: list[dict[str, Any]], count: int, held: int
) -> None:
    result = prepare(write_rows(workdir / "rows.jsonl", questions(count)))
    assert (result.rows, result.heldout_rows) == (count - held, held)
    assert (workdir / "out" / "heldout").exists() == bool(held)
    if not held:
        assert result.heldout is None
        assert read_card("out/train")["heldout"] is None
        assert "9 rows are too few to hold any out" in notes(events)


def test_rows_that_all_ask_the_same_have_no_held_out_part(workdir: Path, events: list[dict[str, Any]]) -> None:
    rows = [{"question": "Tell me a joke", "answer": f"Joke {number}"} for number in range(50)]
    assert prepare(write_rows(workdir / "rows.jsonl", rows)).heldout is None
    assert "0 instead of 20 rows are held out" in notes(events)


def test_the_validation_split_of_a_source_is_its_held_out_part(workdir: Path, events: list[dict[str, Any]]) -> None:
    write_rows(workdir / "src" / "train.jsonl", questions(30))
    write_rows(workdir / "src" / "validation.jsonl", questions(12, start=25))
    write_rows(workdir / "src" / "test.jsonl", questions(50, start=100))
    result = prepare("src")
    assert (result.rows, result.heldout_rows) == (25, 12)
    assert "5 training rows ask what held-out rows ask" in notes(events)


def test_a_long_validation_split_is_cut_to_500_drawn_rows(workdir: Path) -> None:
    write_rows(workdir / "src" / "data" / "train-00000-of-00001.jsonl", questions(50))
    write_rows(workdir / "src" / "data" / "test-00000-of-00001.jsonl", questions(700, start=1000))
    assert prepare("src").heldout_rows == 500
    first = [row["messages"][0]["content"] for row in read_rows("out/heldout")]
    prepare("src", output_dir="again")
    assert [row["messages"][0]["content"] for row in read_rows("again/heldout")] == first


def test_a_held_out_part_of_all_training_rows_is_refused(workdir: Path) -> None:
    for name in ("train", "test"):
        write_rows(workdir / "src" / f"{name}.jsonl", questions(30))
    with pytest.raises(BadRequest, match="nothing is left to train on"):
        prepare("src")


CALLING = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {}}]}


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("preference", {"prompt": "Pick {}", "chosen": "this", "rejected": "that"}),
        ("text", {"text": 'Raw {} \u2028 text\nwith 😀 \\ " \t'}),
        ("messages", {"messages": [{"role": "user", "content": "Call {}"}, CALLING], "tools": [{"name": "f"}]}),
    ],
)
def test_what_is_read_back_is_what_the_card_hashes(workdir: Path, kind: str, row: dict[str, Any]) -> None:
    rows = [json.loads(json.dumps(row).replace("{}", str(number), 1)) for number in range(60)]
    result = prepare(write_rows(workdir / "rows.jsonl", rows))
    content = hashlib.sha256()
    for stored in read_rows(result.dataset):
        line = json.dumps(stored, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        content.update(hashlib.sha256(line.encode()).digest())
    assert read_card(result.dataset)["kind"] == kind
    assert content.hexdigest() == result.sha256


def test_tokens_are_counted_with_the_tokenizer_of_a_base_model(workdir: Path, base_dir: Path) -> None:
    from tokenizers import Tokenizer

    result = prepare(write_rows(workdir / "rows.jsonl", questions(30)), tokenizer=str(base_dir))
    tokenizer = Tokenizer.from_file(str(base_dir / "tokenizer.json"))
    texts = [message["content"] for row in read_rows(result.dataset) for message in row["messages"]]
    assert result.tokens == sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    assert "| tokens |" in (workdir / "out/train/README.md").read_text()


def test_many_rows_are_written_in_shards(workdir: Path) -> None:
    count = ROWS_PER_SHARD + 700
    with (workdir / "rows.jsonl").open("w") as stream:
        stream.writelines(f'{{"text": "row {number}"}}\n' for number in range(count))
    result = prepare("rows.jsonl")
    assert (result.rows, result.heldout_rows) == (count - 500, 500)
    shards = [name for name in names_in(workdir / "out" / "train") if name.startswith("part")]
    assert shards == ["part-00000.parquet", "part-00001.parquet"]
    texts = [row["text"] for row in read_rows("out/train")]
    assert len(texts) == result.rows
    assert texts == sorted(texts, key=lambda text: int(text.split()[1]))


def test_limit_takes_the_first_rows(workdir: Path) -> None:
    result = prepare(write_rows(workdir / "rows.jsonl", questions(100)), limit=12)
    assert result.rows + result.heldout_rows == 12


def test_a_damaged_or_foreign_folder_is_not_read(workdir: Path) -> None:
    prepare(TICKETS)
    with pytest.raises(BadRequest, match="`out` is no prepared dataset"):
        read_rows("out")
    with pytest.raises(BadRequest, match="`nowhere` is missing"):
        read_rows("nowhere")
    next((workdir / "out" / "heldout").glob("*.parquet")).unlink()
    with pytest.raises(BadRequest, match="has 0 of its 30 rows"):
        read_rows("out/heldout")
    shard = workdir / "out" / "train" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(BadRequest, match="`out/train` is damaged"):
        read_rows("out/train")


# Interruptions


def test_the_same_call_again_keeps_what_is_there(workdir: Path, events: list[dict[str, Any]]) -> None:
    first = prepare(TICKETS)
    before = (workdir / "out/train/metadata.json").stat().st_mtime_ns
    assert prepare(TICKETS) == first
    assert (workdir / "out/train/metadata.json").stat().st_mtime_ns == before
    assert "holds these rows already" in notes(events)
    assert sorted(path.name for path in (workdir / "out").iterdir()) == ["heldout", "train"]


def test_leftovers_of_a_killed_call_are_cleared_away(workdir: Path) -> None:
    first = prepare(TICKETS)
    shutil.rmtree(workdir / "out/train")  # killed between the two renames
    for name in ("train.partial", "heldout.partial", "train.scratch.partial"):
        (workdir / "out" / name).mkdir()
        (workdir / "out" / name / "part-00000.parquet").write_bytes(b"half")
    assert prepare(TICKETS) == first
    assert sorted(path.name for path in (workdir / "out").iterdir()) == ["heldout", "train"]


def test_two_calls_do_not_write_to_one_folder_at_once(workdir: Path) -> None:
    import fcntl
    import os

    (workdir / "out").mkdir()
    descriptor = os.open(workdir / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(BadRequest, match="another call prepares data in `out` now"):
            prepare(TICKETS)
    finally:
        os.close(descriptor)


def test_a_kill_at_any_moment_leaves_a_complete_dataset_or_none(workdir: Path) -> None:
    with (workdir / "rows.jsonl").open("w") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in questions(40_000))
    arguments = json.dumps({"source": "rows.jsonl", "output_dir": "out"})
    for tenths in (4, 6, 8, 10, 12):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tunesmith.tools", "prepare_dataset"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(arguments)
        process.stdin.close()
        time.sleep(tenths / 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (workdir / "out" / "train").exists():
            assert read_card("out/train")["rows"] == 39_500
            assert len(read_rows("out/heldout")) == 500
    result = run_tool("prepare_dataset", json.loads(arguments))
    assert isinstance(result, PreparedDataset)
    assert result.rows == len(read_rows("out/train")) == 39_500
    assert sorted(path.name for path in (workdir / "out").iterdir()) == ["heldout", "train"]
