"""A local copy of a dataset, in the layouts that hubs and people use, and what is said where a file is missing."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tunesmith.tools.base import BadRequest
from tunesmith.tools.lm_eval_data import LocalDatasets

ROWS = [{"question": f"{n}?", "answer": str(n)} for n in range(3)]


def _jsonl(path: Path, rows: list[dict[str, str]] = ROWS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # `datasets` leaves CSV files open


@pytest.fixture(autouse=True)
def cache(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", workdir / "cache")
    yield
    gc.collect()


def test_a_dataset_that_is_not_there_is_named_with_the_folder_it_belongs_into(workdir: Path) -> None:
    data = LocalDatasets(Path("copies"))
    with data.in_use(), pytest.raises(BadRequest, match=r"`copies/openai/gsm8k/main` does not exist.*test\.jsonl"):
        datasets.load_dataset(path="openai/gsm8k", name="main")
    assert data.asked == [("openai/gsm8k", "main")]


def test_a_split_without_a_file_is_empty_and_its_file_is_named(workdir: Path) -> None:
    _jsonl(Path("copies/openai/gsm8k/main/test.jsonl"))
    data = LocalDatasets(Path("copies"))
    with data.in_use():
        found = datasets.load_dataset(path="openai/gsm8k", name="main")
        assert list(found["test"]) == ROWS
        assert data.missing == []
        assert len(found["train"]) == 0
    assert data.missing == ["`copies/openai/gsm8k/main/train.jsonl` (or .parquet, .csv)"]


@pytest.mark.parametrize("place", ["Rowan/hellaswag", "Rowan__hellaswag", "hellaswag"])
@pytest.mark.parametrize("form", ["data/test-{:05}-of-00002.parquet", "test/part-{}.csv", "test-{:05}-of-00002.jsonl"])
def test_the_files_of_a_split_are_found_by_its_name(workdir: Path, place: str, form: str) -> None:
    for number, row in enumerate(ROWS[:2]):
        path = Path("copies") / place / form.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([row]), path)
        elif path.suffix == ".csv":
            path.write_text(f"question,answer\n{row['question']},{row['answer']}\n")
        else:
            _jsonl(path, [row])
    _jsonl(Path("copies") / place / "latest.jsonl", [{"question": "of no split", "answer": ""}])
    with LocalDatasets(Path("copies")).in_use():
        found = datasets.load_dataset(path="Rowan/hellaswag", name=None)
        assert [row["question"] for row in found["test"]] == ["0?", "1?"]
        assert [str(row["answer"]) for row in datasets.load_dataset("Rowan/hellaswag", split="test")] == ["0", "1"]


def test_a_repository_that_declares_its_files_is_read_by_what_it_declares(workdir: Path) -> None:
    folder = Path("copies/org/exam")
    _jsonl(folder / "easy/questions.jsonl")
    folder.joinpath("README.md").write_text(
        "---\nconfigs:\n- config_name: easy\n  data_files:\n  - split: test\n    path: easy/questions.jsonl\n---\n"
    )
    with LocalDatasets(Path("copies")).in_use():
        assert len(datasets.load_dataset(path="org/exam", name="easy")["test"]) == 3


def test_what_is_no_dataset_of_a_hub_is_left_to_the_library(workdir: Path) -> None:
    library = datasets.load_dataset
    _jsonl(Path("rows.jsonl"))
    data = LocalDatasets(Path("copies"))
    with data.in_use():
        assert len(datasets.load_dataset("json", data_files={"test": "rows.jsonl"})["test"]) == 3
    assert data.asked == []
    assert datasets.load_dataset is library
