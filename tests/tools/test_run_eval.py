"""The evaluation as a tool: what it refuses, what it reports, and what it leaves on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.artifacts import file_sha256, write_metadata
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.eval_report import TABLE_COLUMNS, EvalReport, table_rows
from tunesmith.tools.process import run_tool
from tunesmith.tools.run_eval import RunEvalInput, run_eval

QUESTIONS = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(8)]
CHOICES = [
    {"query": f"The opposite of {word} is", "choices": ["banana", opposite], "gold": 1}
    for word, opposite in (("hot", "cold"), ("big", "small"), ("up", "down"), ("black", "white"), ("day", "night"))
]


@pytest.fixture(scope="session")
def tiny_gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama as q8_0, exported untuned."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    run_tool("export_gguf", {"checkpoint_dir": str(tiny_llama), "quantization": "q8_0", "output_file": str(path)})
    return path


@pytest.fixture
def gguf(tiny_gguf: Path, workdir: Path) -> Path:
    """A copy in the working folder, without the note beside it."""
    (workdir / "m.gguf").write_bytes(tiny_gguf.read_bytes())
    return Path("m.gguf")


def _items(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def _eval(gguf_file: Path, eval_set: str, limit: int | None = None) -> EvalReport:
    return run_eval(RunEvalInput(gguf_file=str(gguf_file), eval_set=eval_set, limit=limit))


def _dataset(folder: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    """Held-out rows as prepare_dataset stores them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "part-00000.parquet")
    write_metadata(folder, {"tool": "prepare_dataset", "kind": kind, "rows": len(rows)})
    return folder


def _note_beside(gguf_file: Path, **values: Any) -> None:
    facts = {"run": None, "base_model": None, "heldout": None, "quantization": "q8_0", **values}
    gguf_file.with_suffix(".json").write_text(json.dumps({"sha256": file_sha256(gguf_file), **facts}))


def test_a_file_that_is_no_gguf_is_refused_before_anything_is_loaded(workdir: Path) -> None:
    items = _items("items.jsonl", QUESTIONS)
    whole = bundled_gguf().read_bytes()
    Path("cut.gguf").write_bytes(whole[:1_000_000])
    Path("text.gguf").write_text("no model here, only a sentence")
    for name, reason in (("gone.gguf", "does not exist"), (".", "folder"), ("text.gguf", "GGUF"), ("cut.gguf", "cut")):
        with pytest.raises(BadRequest, match=reason):
            _eval(Path(name), items)
    assert sorted(path.name for path in workdir.iterdir()) == ["cut.gguf", "items.jsonl", "text.gguf"]


@pytest.mark.parametrize(
    ("eval_set", "reason"),
    [
        ("gone.jsonl", "missing"),
        ("empty.jsonl", "empty"),
        ("items.csv/", "does not exist"),
        ("./tasks", "does not exist"),
        ("none", "no lm-eval task"),
        ("heldout", "no `m.json`"),
    ],
)
def test_a_set_that_is_not_there_is_named(gguf: Path, eval_set: str, reason: str) -> None:
    Path("empty.jsonl").write_text("")
    Path("none").mkdir()
    (Path("none") / "broken.yaml").write_text("task: [")
    with pytest.raises(BadRequest, match=reason):
        _eval(gguf, eval_set)
    assert not list(Path().glob("*.eval-*"))


def test_held_out_rows_that_are_gone_are_named(gguf: Path) -> None:
    _note_beside(gguf, heldout="data/heldout")
    with pytest.raises(BadRequest, match=r"data/heldout.*are gone"):
        _eval(gguf, "heldout")
    _note_beside(gguf)
    with pytest.raises(BadRequest, match="names no held-out rows"):
        _eval(gguf, "heldout")
    gguf.with_suffix(".json").write_text("{")
    with pytest.raises(BadRequest, match="damaged"):
        _eval(gguf, "heldout")


def test_a_random_model_is_said_to_be_at_chance_and_its_base_unknown(gguf: Path, notes: list[str]) -> None:
    report = _eval(gguf, _items("pairs.jsonl", CHOICES * 4), limit=16)
    accuracy = report.metrics[0]
    assert (accuracy.metric, accuracy.n, accuracy.chance, accuracy.verdict) == ("accuracy", 16, 0.5, "unknown base")
    assert accuracy.tuned.low is not None
    assert accuracy.tuned.low <= accuracy.tuned.value
    assert (report.n, report.items_in_set) == (16, 20)
    assert report.remarks[0] == "first 16 of 20 items: a quick look, not a score"
    assert any("accuracy of the model" in remark and "can't be told from chance" in remark for remark in report.remarks)
    assert report.base_remark is not None
    assert "unknown" in report.base_remark
    assert any("scored alone" in text for text in notes)
    rows = table_rows(report)
    assert len(rows) == len(report.metrics)
    assert all(len(row) == len(TABLE_COLUMNS) for row in rows)
    assert report.summary().startswith("16 items of pairs.jsonl: accuracy ")


def test_a_report_is_never_overwritten_and_repeats_itself(gguf: Path) -> None:
    items = _items("sums.jsonl", QUESTIONS)
    first, second = _eval(gguf, items), _eval(gguf, items)
    assert first.report == "m.eval-sums.json"
    assert second.report == "m.eval-sums-2.json"
    one, other = (json.loads(Path(report.report).read_text()) for report in (first, second))
    assert one["rows"] == other["rows"]
    assert one["tuned"] == other["tuned"]
    assert one["n"] == len(one["rows"]) == 8
    assert one["base"] is None
    assert one["difference"] is None
    assert one["files"]["tuned"]["sha256"] == file_sha256(gguf)
    assert set(one["tuned"]) == {"exact_match", "token_f1", "perplexity"}
    assert {"id", "prompt", "tuned"} == set(one["rows"][0])


def test_items_longer_than_the_model_sees_are_left_out_and_counted(gguf: Path) -> None:
    long = {"question": "word " * 20_000, "answer": "yes"}
    report = _eval(gguf, _items("long.jsonl", [*QUESTIONS[:3], long]))
    assert (report.n, report.metrics[0].n) == (4, 3)
    assert any("left out" in remark for remark in report.remarks)
    with pytest.raises(BadRequest, match="none of the 1 items fits"):
        _eval(gguf, _items("only.jsonl", [long]))


def test_held_out_rows_are_scored_beside_the_untuned_base_made_once(
    gguf: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(Path("cache").resolve()))
    rows = [
        {"messages": [{"role": "user", "content": q["question"]}, {"role": "assistant", "content": q["answer"]}]}
        for q in QUESTIONS
    ]
    heldout = _dataset(Path("data/heldout"), rows, "messages")
    _note_beside(gguf, run="runs/tiny", base_model=str(tiny_llama), heldout=str(heldout))
    report = _eval(gguf, "heldout")
    assert [row.metric for row in report.metrics] == ["exact_match", "token_f1", "perplexity"]
    assert all(row.verdict == "cannot tell" for row in report.metrics)  # both files are the same model
    document = json.loads(Path(report.report).read_text())
    assert Path(report.report).name == "m.eval-heldout.json"
    assert document["base"] == document["tuned"]
    assert all(gap["value"] == 0 for gap in document["difference"].values())
    assert len(list(Path("cache/gguf").glob("*.gguf"))) == 1
    _eval(gguf, "heldout")
    assert sum("once" in text for text in notes) == 1


def test_a_base_that_cannot_be_made_is_left_out_with_the_reason(gguf: Path) -> None:
    _note_beside(gguf, run="runs/x", base_model="no/such-folder/anywhere")
    report = _eval(gguf, _items("sums.jsonl", QUESTIONS[:2]))
    assert report.metrics[0].base is None
    assert report.base_remark is not None
    assert "no/such-folder/anywhere" in report.base_remark
    _note_beside(gguf, base_model="smollm2-135m")
    assert _eval(gguf, "sums.jsonl").base_remark == "it is an untuned base itself"
    _note_beside(gguf, run="runs/x", base_model="smollm2-135m", sha256="0" * 64)
    assert "another file" in str(_eval(gguf, "sums.jsonl").base_remark)


def test_texts_and_preferences_of_a_held_out_part_are_scored(gguf: Path) -> None:
    texts = _dataset(Path("texts"), [{"text": f"Number {n} comes before {n + 1}."} for n in range(6)], "text")
    _note_beside(gguf, heldout=str(texts))
    (perplexity,) = _eval(gguf, "heldout").metrics
    assert perplexity.metric == "perplexity"
    assert perplexity.tuned.value > 1000  # a random model of 49,152 words
    user = [{"role": "user", "content": "Hi"}]
    pairs = [
        {
            "prompt": user,
            "chosen": [{"role": "assistant", "content": f"Hello {n}"}],
            "rejected": [{"role": "assistant", "content": f"Go away {n} times"}],
        }
        for n in range(6)
    ]
    _note_beside(gguf, heldout=str(_dataset(Path("pairs"), pairs, "preference")))
    (preference,) = _eval(gguf, "heldout").metrics
    assert (preference.metric, preference.chance, preference.n) == ("prefers_chosen", 0.5, 6)


@pytest.fixture
def task_folder(gguf: Path) -> str:
    """Two lm-eval tasks of our own with local data."""
    Path("tasks").mkdir()
    data = Path(_items("pairs.jsonl", CHOICES)).resolve()
    common = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
    (Path("tasks") / "choice.yaml").write_text(
        f'task: opposites\n{common}output_type: multiple_choice\ndoc_to_text: "{{{{query}}}}"\n'
        "doc_to_choice: choices\ndoc_to_target: gold\nmetric_list:\n  - metric: acc\n  - metric: acc_norm\n"
    )
    (Path("tasks") / "rolling.yaml").write_text(
        f'task: running_text\n{common}output_type: loglikelihood_rolling\ndoc_to_text: ""\n'
        'doc_to_target: "{{query}}"\nmetric_list:\n  - metric: word_perplexity\n  - metric: bits_per_byte\n'
    )
    return "tasks"


def test_a_folder_of_lm_eval_tasks_gives_the_choices_of_our_own_form(gguf: Path, task_folder: str) -> None:
    ours, theirs = (run_tool("run_eval", {"gguf_file": "m.gguf", "eval_set": s}) for s in ("pairs.jsonl", task_folder))
    assert isinstance(ours, EvalReport)
    assert isinstance(theirs, EvalReport)
    found = {row.metric: row for row in theirs.metrics}
    assert set(found) == {"acc", "acc_norm", "word_perplexity", "bits_per_byte"}
    assert found["acc"].tuned == ours.metrics[0].tuned
    assert found["acc_norm"].tuned == ours.metrics[1].tuned
    assert found["acc"].chance == 0.5
    assert theirs.n == 10
    bits = found["bits_per_byte"].tuned
    assert bits.low is not None
    assert bits.low < bits.value


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("hellaswg", BadRequest, "did you mean.*`hellaswag`"),
        ("hellaswag", ToolFailed, "Rowan/hellaswag.*without a net"),
    ],
)
def test_a_task_that_is_unknown_or_out_of_reach_says_what_would_work(
    gguf: Path, name: str, error: type[Exception], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(Path("hf").resolve()))
    with pytest.raises(error, match=reason):
        run_tool("run_eval", {"gguf_file": str(gguf), "eval_set": name})


def test_parameters_of_lm_eval_tasks_are_refused_elsewhere(gguf: Path) -> None:
    items = _items("sums.jsonl", QUESTIONS)
    for name, value in (("data_dir", "copies"), ("chat_template", True)):
        with pytest.raises(BadRequest, match=f"`{name}` is for lm-eval tasks"):
            run_eval(RunEvalInput(gguf_file=str(gguf), eval_set=items, **{name: value}))
    with pytest.raises(BadRequest, match=r"`copies`, which is no folder"):
        run_eval(RunEvalInput(gguf_file=str(gguf), eval_set="hellaswag", data_dir="copies"))
    assert Path("copies") in RunEvalInput(gguf_file="m.gguf", eval_set="hellaswag", data_dir="copies").reads()


def test_a_real_model_tells_opposites_from_bananas(workdir: Path) -> None:
    Path("smol.gguf").symlink_to(bundled_gguf())
    report = _eval(Path("smol.gguf"), _items("pairs.jsonl", CHOICES))
    assert report.metrics[0].tuned.value == 1.0
    assert any("same answer to every item" in remark for remark in report.remarks)  # the right one is always second
