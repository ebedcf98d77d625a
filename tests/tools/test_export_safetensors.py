"""A merged model folder: whole or absent, and what transformers loads from it is base plus adapter."""

import json
import shutil
from pathlib import Path

import pytest
from adapters import write_adapter
from tunesmith.tools.artifacts import write_metadata
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.export_safetensors import ExportSafetensorsInput, SafetensorsFolder, export_safetensors
from tunesmith.tools.model_source import find_model
from tunesmith.tools.safetensors_files import model_tensors, read_float32

pytestmark = pytest.mark.usefixtures("workdir")


def _export(checkpoint: Path | str, output: str | None = None) -> SafetensorsFolder:
    return export_safetensors(ExportSafetensorsInput(checkpoint_dir=str(checkpoint), output_dir=output))


@pytest.fixture
def run_folder(tiny_llama: Path, tmp_path: Path) -> Path:
    folder = write_adapter(tmp_path / "runs" / "tiny", tiny_llama)
    write_metadata(folder, {"base_model": str(tiny_llama), "dataset": "data/train"})
    return folder


def test_an_output_that_exists_is_refused(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    with pytest.raises(BadRequest, match="exists already"):
        _export(run_folder, "merged")


def test_an_adapter_that_changes_nothing_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "runs" / "zero", tiny_llama, size=0)
    with pytest.raises(ToolFailed, match="changes nothing"):
        _export(adapter, "out/merged")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_noticed_before_the_work(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ToolFailed, match=r"takes 0\.\d+ GB"):
        _export(run_folder)


def test_the_merged_folder_is_a_model_that_names_its_origin(run_folder: Path, tiny_llama: Path, tmp_path: Path) -> None:
    result = _export(run_folder)
    folder = tmp_path / "models" / "tiny-merged"
    assert (result.model_dir, result.dtype, result.tensors) == ("models/tiny-merged", "F16", 20)
    assert result.bytes == sum(tensor.bytes for tensor in model_tensors(folder).values())
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "chat_template.jinja", "config.json", "metadata.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    card = (folder / "README.md").read_text()
    assert "A LoRA adapter merged into" in card
    assert str(tmp_path) not in card
    found = find_model(result.model_dir)
    assert (found.run, found.base_model, found.dataset, found.tuned) == (
        str(run_folder), str(tiny_llama), "data/train", True,
    )  # fmt: skip


def test_a_runs_own_chat_template_stands_above_its_bases(run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    folder = Path(_export(run_folder).model_dir)
    assert (folder / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"


def test_shards_stay_shards_and_a_model_without_adapter_is_copied_as_it_is(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "sharded"
    shutil.copytree(tiny_llama, model)
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, chosen in parts.items():
        save_file({name: tensors[name] for name in chosen}, model / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    copied = model_tensors(Path(_export(model, "copied").model_dir))
    adapter = write_adapter(tmp_path / "adapter", model)
    merged = model_tensors(Path(_export(adapter, "merged").model_dir))
    assert {tensor.file.name for tensor in merged.values()} == set(parts)
    changed = {name for name in names if not (read_float32(copied[name]) == read_float32(merged[name])).all()}
    assert changed == {name for name in names if "_proj" in name}


def test_custom_code_is_not_handed_on(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama)
    (adapter / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": "evil.Tokenizer"}, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    (adapter / "evil.py").write_text("raise SystemExit")
    folder = Path(_export(adapter).model_dir)
    assert "auto_map" not in json.loads((folder / "tokenizer_config.json").read_text())
    assert not (folder / "evil.py").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # in torchao, imported by transformers
def test_transformers_loads_the_merged_folder(run_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = _export(run_folder).model_dir
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(folder)("Hello", return_tensors="pt")
    assert torch.isfinite(model(**tokens).logits).all()
