"""An export with an importance matrix: from the rows of the run's own training, noted beside the file and in it."""

import json
import shutil
from pathlib import Path

import pytest
from adapters import write_adapter
from tunesmith.tools.artifacts import read_json, write_metadata
from tunesmith.tools.base import BadRequest
from tunesmith.tools.export_gguf import ExportGgufInput, GgufFile, export_gguf
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.llama_cpp import LlamaModel
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, prepare_dataset

pytestmark = [
    pytest.mark.usefixtures("workdir"),
    # in torchao, which transformers' models import
    pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning"),
]


@pytest.fixture
def run_folder(tiny_llama: Path, workdir: Path) -> Path:
    """What training leaves behind: an adapter, and a dataset that its metadata names."""
    rows = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n)))} for n in range(1, 41)]
    Path("counting.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare_dataset(PrepareDatasetInput(source="counting.jsonl", output_dir="data"))
    folder = write_adapter(workdir / "runs" / "tiny", tiny_llama)
    write_metadata(folder, {"base_model": str(tiny_llama), "dataset": "data/train"})
    return folder


def _export(checkpoint: Path | str, kind: str, output: str, *, imatrix: bool) -> GgufFile:
    return export_gguf(
        ExportGgufInput(
            checkpoint_dir=str(checkpoint),
            quantization=kind,
            output_file=output,
            imatrix=imatrix,
            check_fidelity=False,
        )
    )


def test_a_model_that_names_no_training_rows_is_refused_before_any_work(tiny_llama: Path) -> None:
    with pytest.raises(BadRequest, match=r"computed from the rows .* names none; export a run of finetune_unsloth"):
        _export(tiny_llama, "q4_k_m", "out/model.gguf", imatrix=True)
    assert not Path("out").exists()


def test_a_run_whose_dataset_is_gone_is_refused_with_its_name(run_folder: Path) -> None:
    shutil.rmtree("data")
    with pytest.raises(BadRequest, match=r"needs the rows .* `data/train` is missing"):
        _export(run_folder, "q4_k_m", "out/model.gguf", imatrix=True)
    assert not Path("out").exists()


def test_a_type_that_is_not_packed_by_importance_stays_what_it_is(run_folder: Path, notes: list[str]) -> None:
    plain = _export(run_folder, "q8_0", "out/plain/tiny.gguf", imatrix=False)
    weighted = _export(run_folder, "q8_0", "out/weighted/tiny.gguf", imatrix=True)
    assert plain.sha256 == weighted.sha256
    assert any("changes nothing in a file of type q8_0" in text for text in notes)


def test_the_matrix_changes_the_packing_and_is_noted_in_the_file_and_beside_it(run_folder: Path) -> None:
    plain = _export(run_folder, "q4_k_m", "out/plain.gguf", imatrix=False)
    weighted = _export(run_folder, "q4_k_m", "out/weighted.gguf", imatrix=True)
    assert plain.sha256 != weighted.sha256
    assert plain.tensor_types == weighted.tensor_types
    metadata = read_header(Path("out/weighted.gguf")).metadata
    assert metadata["quantize.imatrix.dataset"] == "counting.jsonl"
    assert metadata["quantize.imatrix.entries_count"] == 14
    assert "quantize.imatrix.dataset" not in read_header(Path("out/plain.gguf")).metadata
    beside = read_json(Path("out/weighted.json"))["imatrix"]
    assert beside["dataset"] == "data/train"
    assert beside["rows"] >= 15
    assert beside["tokens"] > 10 * beside["rows"]
    assert "imatrix" not in read_json(Path("out/plain.json"))
    with LlamaModel("out/weighted.gguf") as model:
        assert model.tokenize("Count")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"{name}.{ending}" for name in ("plain", "weighted") for ending in ("Modelfile", "gguf", "json")
    ]
