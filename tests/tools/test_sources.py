import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from https_server import Answer, HttpsServer
from hub import Hub
from object_store import ObjectStore
from tunesmith.tools import base
from tunesmith.tools.base import BadRequest, MissingExtra
from tunesmith.tools.data_files import split_of
from tunesmith.tools.dataset_folder import read_card, read_rows
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, PreparedDataset, prepare_dataset


def lines(count: int, start: int = 0) -> bytes:
    rows = ({"question": f"What is {n} plus one?", "answer": str(n + 1)} for n in range(start, start + count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def prepare(source: str, **arguments: Any) -> PreparedDataset:
    return prepare_dataset(PrepareDatasetInput(source=source, **{"output_dir": "out", **arguments}))


BATCH = """
import json, sys
from tunesmith.tools.base import BadRequest
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, prepare_dataset

outcomes = {}
for name, arguments in json.load(sys.stdin).items():
    try:
        outcomes[name] = prepare_dataset(PrepareDatasetInput(output_dir=name, **arguments)).model_dump()
    except BadRequest as error:
        outcomes[name] = str(error)
json.dump(outcomes, open("outcomes.json", "w"))
"""


def prepare_all(folder: Path, environment: dict[str, str], calls: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Make several calls, each with its name as output folder, in one process of their own.

    The libraries of hubs and object stores read their settings once a process, and load for seconds.

    Returns:
        name -> the result, or the text of the BadRequest.
    """
    subprocess.run(
        [sys.executable, "-P", "-c", BATCH],
        input=json.dumps(calls).encode(),
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    return json.loads((folder / "outcomes.json").read_text())


def answers(folder: Path | str) -> list[int]:
    return [int(row["messages"][-1]["content"]) for row in read_rows(folder)]


# Local folders


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("my_dev_rows.csv", "validation"),
        ("validation/part-1.arrow", "validation"),
        ("test/train.jsonl", "train"),
        ("latest.json", None),
        ("contest/rows.jsonl", None),
    ],
)
def test_a_split_is_recognised_by_whole_words(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_a_folder_is_read_in_the_order_of_its_names(workdir: Path) -> None:
    for name, start in (("b.jsonl", 10), ("a/z.jsonl", 0), ("c.json", 20)):
        put(workdir / "src" / name, lines(4, start))
    for name in (".hidden.jsonl", "_notes/x.jsonl", "licence.txt", "dataset_info.json", "state.json", "README.md"):
        put(workdir / "src" / name, b"{not rows")
    prepare("src", heldout_fraction=0)
    assert answers("out/train") == [*range(1, 5), *range(11, 15), *range(21, 25)]


def test_a_folder_that_holds_its_outputs_can_be_prepared_again(workdir: Path) -> None:
    put(workdir / "data" / "rows.jsonl", lines(40))
    first = prepare("data", output_dir="data/")
    assert prepare("data", output_dir="data/") == first
    assert prepare("data", output_dir="elsewhere").rows == first.rows


def test_a_prepared_dataset_is_a_source_too(workdir: Path) -> None:
    put(workdir / "rows.jsonl", lines(40))
    first = prepare("rows.jsonl")
    again = prepare("out/train", output_dir="again", heldout_fraction=0)
    assert (again.shape, again.sha256) == ("messages", first.sha256)


def test_a_split_that_the_files_do_not_name_is_refused(workdir: Path) -> None:
    put(workdir / "src" / "train.jsonl", lines(20))
    put(workdir / "src" / "test.jsonl", lines(20, 100))
    with pytest.raises(BadRequest, match="`src` has no split `dev`; it has `test`, `train`"):
        prepare("src", split="dev")
    assert prepare("src", split="test").dataset == "out/test"
    assert min(answers("out/test") + answers("out/heldout")) == 101


def test_a_file_has_one_split_whatever_it_is_called(workdir: Path) -> None:
    put(workdir / "rows.jsonl", lines(40))
    said: list[dict[str, Any]] = []
    base.on_event(said.append)
    try:
        assert prepare("rows.jsonl", split="validation").dataset == "out/validation"
    finally:
        base.on_event(None)
    assert "all its rows are prepared under the name `validation`" in said[0]["text"]


# The hub


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> folder of the data sets that the hub on loopback has."""
    folder = tmp_path_factory.mktemp("served")
    put(folder / "corpus" / "train.jsonl", lines(60))
    put(folder / "org" / "data" / "train-00000-of-00001.jsonl", lines(60))
    put(folder / "org" / "data" / "validation-00000-of-00001.jsonl", lines(12, 1000))
    put(folder / "alpaca" / "alpaca.json", b'[{"instruction": "Hi", "input": "", "output": "Hello"}]')
    configurations = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("red", "blue"))
    put(folder / "two" / "README.md", f"---\nconfigs:\n{configurations}---\n".encode())
    put(folder / "two" / "red.jsonl", lines(20))
    put(folder / "two" / "blue.jsonl", lines(20, 500))
    put(folder / "broken" / "rows.jsonl", b'{"question": \n')
    names = {
        "my_corpus": "corpus",
        "org/rows": "org",
        "yahma/alpaca-cleaned": "alpaca",
        "org/two": "two",
        "org/broken": "broken",
    }
    return {f"datasets/{name}": folder / place for name, place in names.items()}


@pytest.fixture(scope="module")
def from_hub(served: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """(working folder, outcomes) of a number of calls."""
    folder = tmp_path_factory.mktemp("from_hub")
    calls: dict[str, dict[str, Any]] = {
        "bare": {"source": "huggingface://my_corpus"},
        "whole": {"source": "org/rows"},
        "streamed": {"source": "org/rows", "streaming": True, "limit": 15},
        "catalogue": {"source": "alpaca-cleaned"},
        "unclear": {"source": "org/two"},
        "configured": {"source": "huggingface://org/two/blue"},
        "unknown": {"source": "org/nothing"},
        "unsplit": {"source": "org/rows", "split": "dev"},
        "broken": {"source": "org/broken"},
    }
    with Hub(served) as hub:
        return folder, prepare_all(folder, hub.environment(folder / "home"), calls)


Outcomes = tuple[Path, dict[str, Any]]


def test_a_bare_name_is_one_of_the_hub(from_hub: Outcomes) -> None:
    folder, outcomes = from_hub
    assert (outcomes["bare"]["rows"], outcomes["bare"]["heldout_rows"]) == (40, 20)
    assert sorted(answers(folder / "bare/train") + answers(folder / "bare/heldout")) == list(range(1, 61))


def test_a_hub_dataset_is_read_with_its_own_validation_split(from_hub: Outcomes) -> None:
    folder, outcomes = from_hub
    assert (outcomes["whole"]["rows"], outcomes["whole"]["heldout_rows"]) == (60, 12)
    assert min(answers(folder / "whole/heldout")) == 1001
    assert read_card(folder / "whole/train")["source"] == "hub:org/rows"


def test_a_hub_dataset_can_be_read_in_part(from_hub: Outcomes) -> None:
    folder, _ = from_hub
    assert answers(folder / "streamed/train") == list(range(1, 16))
    assert len(answers(folder / "streamed/heldout")) == 12


def test_a_catalogue_name_stands_for_its_hub_id(from_hub: Outcomes) -> None:
    outcome = from_hub[1]["catalogue"]
    assert (outcome["rows"], outcome["shape"]) == (1, "alpaca")


def test_a_configuration_is_the_third_part_of_the_name(from_hub: Outcomes) -> None:
    folder, outcomes = from_hub
    assert re.search("`org/two` can't be read: .*red.*blue", outcomes["unclear"])
    assert min(answers(folder / "configured/train") + answers(folder / "configured/heldout")) == 501


def test_what_the_hub_does_not_have_is_named(from_hub: Outcomes) -> None:
    folder, outcomes = from_hub
    assert "`org/nothing` is no file here, and the hub has no data set of that name" in outcomes["unknown"]
    assert outcomes["unsplit"] == "`org/rows` has no split `dev`; it has `train`, `validation`"
    assert outcomes["broken"].startswith("`org/broken` can't be read: ")
    assert not any((folder / name).exists() for name in ("unknown", "unsplit", "broken", "unclear"))


def test_the_hub_on_loopback_serves_models_to_the_real_library(tmp_path: Path) -> None:
    put(tmp_path / "model" / "config.json", b"{}")
    put(tmp_path / "model" / "weights" / "model.safetensors", bytes(range(256)) * 9000)
    code = """if True:
        from huggingface_hub import snapshot_download
        from pathlib import Path
        folder = Path(snapshot_download("org/tiny", allow_patterns=["*.safetensors", "*.json"]))
        print((folder / "weights/model.safetensors").read_bytes() == bytes(range(256)) * 9000)
    """
    with Hub({"models/org/tiny": tmp_path / "model"}) as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


# Remote files


def test_one_file_is_read_over_https(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpsServer({"/a/rows.jsonl?key=secret": Answer(lines(40))}, workdir) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        address = f"{server.url}/a/rows.jsonl?key=secret"
        with pytest.raises(BadRequest, match="not a public address"):
            prepare(address)
        assert prepare(address, allow_private_hosts=True).rows == 20
        assert "secret" not in json.dumps(read_card("out/train"))
        server.answers["/a/rows.jsonl?key=secret"] = Answer(b'{"question": 1, "answer": "b"}\n')
        with pytest.raises(BadRequest, match=r"/a/rows\.jsonl` line 1: `question` must be text"):
            prepare(address, allow_private_hosts=True, output_dir="other")


def test_a_remote_file_of_another_kind_is_not_fetched(workdir: Path) -> None:
    for address in ("https://localhost:1/rows.xlsx", "https://localhost:1/", "https://localhost:1/rows?f=.jsonl"):
        with pytest.raises(BadRequest, match=r"a data file ends in \.jsonl"):
            prepare(address, allow_private_hosts=True)


@pytest.fixture(scope="module")
def from_stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """(working folder, outcomes, paths that were asked for) of a number of calls."""
    folder = tmp_path_factory.mktemp("from_stores")
    objects = {
        "bucket/rows/train/a.jsonl": lines(30),
        "bucket/rows/train/b.jsonl": lines(30, 30),
        "bucket/rows/test/a.jsonl": lines(12, 1000),
        "bucket/rows/README.md": b"notes",
        "bucket/rows-old.jsonl": lines(1),
    }
    calls = {}
    for scheme in ("s3", "gs"):
        calls[f"{scheme}-folder"] = {"source": f"{scheme}://bucket/rows/"}
        calls[f"{scheme}-object"] = {"source": f"{scheme}://bucket/rows/train/b.jsonl"}
        calls[f"{scheme}-part"] = {"source": f"{scheme}://bucket/row"}
        calls[f"{scheme}-notes"] = {"source": f"{scheme}://bucket/rows/README.md"}
    with ObjectStore(objects) as store:
        outcomes = prepare_all(folder, store.environment(), calls)
    return folder, outcomes, [path for _, path in store.requests]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_objects_of_a_store_are_files_of_a_folder(
    from_stores: tuple[Path, dict[str, Any], list[str]], scheme: str
) -> None:
    folder, outcomes, _ = from_stores
    assert answers(folder / f"{scheme}-folder/train") == list(range(1, 61))
    assert len(answers(folder / f"{scheme}-folder/heldout")) == 12
    assert outcomes[f"{scheme}-object"]["rows"] + outcomes[f"{scheme}-object"]["heldout_rows"] == 30


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_what_a_store_does_not_have_or_is_no_data_is_named(
    from_stores: tuple[Path, dict[str, Any], list[str]], scheme: str
) -> None:
    _, outcomes, asked = from_stores
    assert outcomes[f"{scheme}-part"] == f"`{scheme}://bucket/row` holds nothing; check the address"
    assert "ends in `.md`; a data file ends in .jsonl" in outcomes[f"{scheme}-notes"]
    assert not any("README" in path and "download" in path for path in asked)


@pytest.mark.parametrize(("scheme", "module"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_store_without_its_library_names_the_extra(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, module: str
) -> None:
    find_spec = base.importlib.util.find_spec
    monkeypatch.setattr(
        base.importlib.util, "find_spec", lambda name, *rest: None if name == module else find_spec(name, *rest)
    )
    with pytest.raises(MissingExtra, match=rf"`{module}` is not installed; run: pip install 'tunesmith\[{scheme}\]'"):
        prepare(f"{scheme}://bucket/rows.jsonl")
