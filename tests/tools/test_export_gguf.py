"""One GGUF from an adapter, a model folder or a name: whole or not at all, and read as its tokenizer reads."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapters import write_adapter
from tunesmith.tools.artifacts import file_sha256, write_metadata
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.catalogue import QUANTIZATIONS
from tunesmith.tools.convert_gguf import convert_to_gguf
from tunesmith.tools.export_gguf import ExportGgufInput, GgufFile, export_gguf
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_mixture import FILE_TYPES
from tunesmith.tools.gguf_quants import quantize_file
from tunesmith.tools.llama_cpp import LlamaContext, LlamaModel
from tunesmith.tools.merge import merge_adapter
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.safetensors_files import read_rows

pytestmark = [
    pytest.mark.usefixtures("workdir"),
    # in torchao, which transformers' models import
    pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning"),
]


def _export(
    checkpoint: Path | str, kind: str = "q4_k_m", output: str | None = "out/model.gguf", *, check_fidelity: bool = False
) -> GgufFile:
    return export_gguf(
        ExportGgufInput(
            checkpoint_dir=str(checkpoint), quantization=kind, output_file=output, check_fidelity=check_fidelity
        )
    )


@pytest.fixture
def run_folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """What training leaves behind: an adapter with its metadata."""
    folder = write_adapter(tmp_path / "runs" / "tiny", tiny_llama)
    write_metadata(folder, {"base_model": str(tiny_llama), "dataset": "data/train"})
    return folder


def test_an_unknown_type_and_another_ending_are_refused_in_one_sentence() -> None:
    with pytest.raises(BadRequest, match=r"`quantization` is 'q9_z'.*q4_k_m.*`output_file` is 'model\.bin'.*\.gguf"):
        TOOLS["export_gguf"].validate({"checkpoint_dir": "x", "quantization": "q9_z", "output_file": "model.bin"})
    with pytest.raises(BadRequest, match=r"climbs out"):
        TOOLS["export_gguf"].validate({"checkpoint_dir": "x", "output_file": "../model.gguf"})


def _folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


_ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "missing/"})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "neither adapter_config.json nor config.json"),
        ({"notes__txt": "hello"}, "neither adapter_config.json nor config.json"),
        ({"adapter_config__json": _ADAPTER, "adapter_model__bin": "x"}, "pickle"),
        ({"adapter_config__json": _ADAPTER}, "without adapter_model.safetensors"),
        ({"adapter_config__json": _ADAPTER, "adapter_model__safetensors": "x"}, "base model of .* is not there"),
        ({"adapter_model__safetensors": "x"}, "without its adapter_config.json"),
        ({"run__json": "{}", "adapter_config__json": _ADAPTER}, "not finished; go on with: tunesmith resume"),
        ({"config__json": '{"model_type": "llama"}', "pytorch_model__bin": "x", "tokenizer__json": "{}"}, "pickles"),
        (
            {
                "config__json": '{"model_type": "x", "auto_map": {"a": "b"}}',
                "model__safetensors": "",
                "tokenizer__json": "",
            },
            "custom code",
        ),
        ({"metadata__json": "{", "config__json": "{}"}, "damaged"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(files: dict[str, str], said: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "runs" / "x", **files)
    with pytest.raises(BadRequest, match=said):
        _export(folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["runs/none", "no-such-model"])
def test_a_checkpoint_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        _export(name)


def test_an_output_that_exists_is_never_touched(tiny_llama: Path, tmp_path: Path) -> None:
    for name in ("model.gguf", "model.Modelfile", "model.json"):
        path = tmp_path / "out" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        with pytest.raises(BadRequest, match="exists already"):
            _export(tiny_llama)
        assert path.read_text() == "mine"
        path.unlink()


def test_an_unknown_architecture_is_refused_and_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["NobodyForCausalLM"]}))
    with pytest.raises(BadRequest, match="NobodyForCausalLM"):
        _export(model)
    assert not (tmp_path / "out").exists()


def test_packed_weights_are_no_16_bit_base(tiny_llama: Path, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    tensors = load_file(model / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    save_file({**tensors, name: tensors[name].astype(np.uint8)}, model / "model.safetensors")
    with pytest.raises(ToolFailed, match=r"U8.*16-bit original"):
        _export(model)


def test_a_full_disk_is_noticed_before_the_work(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ToolFailed, match=r"takes 0\.01 GB in .*0\.00 GB are free"):
        _export(run_folder)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_differs_stops_the_export_and_shows_the_token(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize = LlamaModel.tokenize

    def wrong(self: LlamaModel, text: str, **options: bool) -> list[int]:
        tokens = tokenize(self, text, **options)
        return [*tokens[:-1], 7] if "Größe" in text else tokens

    monkeypatch.setattr(LlamaModel, "tokenize", wrong)
    with pytest.raises(ToolFailed, match=r"tokenises 'Größe.* differently.*token \d+ is 7 .* instead of"):
        _export(tiny_llama)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["bf16", "q3_k_m"])
def test_a_file_loads_and_its_tensors_are_counted(kind: str, tiny_llama: Path, tmp_path: Path) -> None:
    result = _export(tiny_llama, kind)
    header = read_header(tmp_path / result.gguf_file)
    assert result.tensor_types == header.type_counts()
    assert sum(result.tensor_types.values()) == len(header.tensors)
    assert result.bytes == (tmp_path / result.gguf_file).stat().st_size
    assert header.metadata["general.file_type"] == {"bf16": 32, "q3_k_m": 12}[kind]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.Modelfile", "model.gguf", "model.json"]


def test_every_type_that_is_offered_is_quantised_and_computes(tiny_llama: Path, tmp_path: Path) -> None:
    source = tmp_path / _export(tiny_llama, "f16").gguf_file
    assert set(FILE_TYPES) == set(QUANTIZATIONS)
    for kind in QUANTIZATIONS:
        if kind not in ("f32", "f16", "bf16"):
            quantize_file(source, tmp_path / f"{kind}.gguf", kind)
            with LlamaModel(tmp_path / f"{kind}.gguf") as model, LlamaContext(model, n_ctx=256) as context:
                assert context.decode([1], [0], [0], [True]).std() > 0.01


def test_an_adapter_is_in_the_file_and_beside_it_stands_where_it_comes_from(
    run_folder: Path, tiny_llama: Path, tmp_path: Path, notes: list[str]
) -> None:
    tuned = _export(run_folder, "f32", None)
    base = _export(tiny_llama, "f32", "out/base.gguf")
    assert tuned.gguf_file == "models/tiny-finetuned.gguf"
    assert any("merged the adapter into 14 tensors" in note for note in notes)
    beside = json.loads((tmp_path / "models/tiny-finetuned.json").read_text())
    assert beside == {
        "run": str(run_folder),
        "base_model": str(tiny_llama),
        "dataset": "data/train",
        "heldout": None,
        "quantization": "f32",
        "checkpoint_dir": str(run_folder),
        "sha256": file_sha256(tmp_path / tuned.gguf_file),
    }
    rows = []
    for file in (tuned.gguf_file, base.gguf_file):
        with LlamaModel(file) as model, LlamaContext(model, n_ctx=256) as context:
            rows.append(context.decode([1, 4093], [0, 1], [0, 0], [False, True])[0])
    assert abs(rows[0] - rows[1]).max() > 0.1


def test_the_file_computes_what_transformers_computes(run_folder: Path, tiny_llama: Path, tmp_path: Path) -> None:
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    merge_adapter(run_folder, tiny_llama, tmp_path / "merged")
    shutil.copyfile(tiny_llama / "config.json", tmp_path / "merged" / "config.json")
    reference = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"), dtype=torch.float32)
    tokens = [1, 4093, 198, 1780, 314, 260]
    with torch.no_grad():
        expected = reference(torch.tensor([tokens])).logits[0].numpy()
    with LlamaModel(_export(run_folder, "f32").gguf_file) as model, LlamaContext(model, n_ctx=256) as context:
        got = context.decode(tokens, range(6), [0] * 6, [True] * 6)
    np.testing.assert_allclose(got, expected, atol=0.05 * float(np.abs(expected).max()))
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_an_export_imports_neither_torch_nor_transformers(run_folder: Path) -> None:
    code = (
        "import sys; from tunesmith.tools.export_gguf import ExportGgufInput, export_gguf\n"
        "export_gguf(ExportGgufInput(checkpoint_dir=sys.argv[1], output_file='out/model.gguf', check_fidelity=False))\n"
        "print(sorted({'torch', 'transformers', 'auto_round'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(run_folder)], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_what_the_one_pass_does_not_know_goes_through_the_converters(
    run_folder: Path, tiny_llama: Path, tmp_path: Path, notes: list[str]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}))
    write_metadata(run_folder, {"base_model": str(base), "dataset": "data/train"})
    result = _export(run_folder)
    assert any("own converter takes this model, because config.json sets `rope_scaling`" in note for note in notes)
    assert any("merged the adapter into 14 tensors" in note for note in notes)
    header = read_header(tmp_path / result.gguf_file)
    assert header.metadata["llama.rope.scaling.factor"] == 2.0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.Modelfile", "model.gguf", "model.json"]


def test_an_export_is_held_against_the_model_it_was_made_from(run_folder: Path, tmp_path: Path) -> None:
    result = _export(run_folder, "q8_0", check_fidelity=True)
    assert result.fidelity is not None and result.fidelity in result.summary()
    report = json.loads((tmp_path / "out/model.verify.json").read_text())
    assert [link["after"] for link in report["links"]] == ["adapter", "merged", "f16 GGUF", "q8_0 GGUF"]
    assert {link["verdict"] for link in report["links"]} == {"sound"} and report["sha256"] == result.sha256
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".Modelfile", ".gguf", ".json", ".json"]


def test_a_file_without_the_fine_tune_is_not_exported(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmerged(pair: Any) -> Any:
        return read_rows(pair.base, 0, pair.base.shape[0]), True

    monkeypatch.setattr("tunesmith.tools.stream_tensors.merge_pair", unmerged)
    with pytest.raises(ToolFailed, match="would not be the model that was trained: merged -> f16 GGUF"):
        _export(run_folder, "q8_0", check_fidelity=True)
    assert not (tmp_path / "out").exists()


def test_a_second_export_takes_the_next_free_name(tiny_llama: Path, tmp_path: Path) -> None:
    first, second = (_export(tiny_llama, "q8_0", None) for _ in range(2))
    assert first.gguf_file == f"models/{tiny_llama.name}.gguf"
    assert second.gguf_file == f"models/{tiny_llama.name}-2.gguf"
    assert first.sha256 == second.sha256


def test_a_small_model_gets_a_remark_on_its_size(tiny_llama: Path) -> None:
    result = _export(tiny_llama, "q4_k_m")
    assert result.remark is not None
    assert "rows of 64 or 128 weights" in result.remark
    assert result.remark in result.summary()


def test_a_gemma_with_a_sentencepiece_vocabulary_is_exported(tiny_gemma: Path, tmp_path: Path) -> None:
    result = _export(tiny_gemma, "q4_k_m")
    text = (tmp_path / result.modelfile).read_text()
    assert "<start_of_turn>user\n{{ if $system }}" in text
    assert 'PARAMETER stop "<end_of_turn>"' in text
    with LlamaModel(result.gguf_file, vocab_only=True) as model:
        assert model.add_bos
        assert not (tmp_path / result.modelfile).read_text().count("<bos>")


def test_a_qwen_is_exported(base_dir: Path, tmp_path: Path) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=49152, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "qwen")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base_dir / name, tmp_path / "qwen" / name)
    result = _export(tmp_path / "qwen", "q5_k_m")
    assert read_header(tmp_path / result.gguf_file).architecture == "qwen3"


def _killed_export(run_folder: Path, until: Callable[[], bool]) -> None:
    """Start an export in a process of its own and kill it as soon as `until` is true."""
    args = {
        "checkpoint_dir": str(run_folder),
        "quantization": "q4_k_m",
        "output_file": "out/model.gguf",
        "check_fidelity": False,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.tools", "export_gguf"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(json.dumps(args).encode())
    process.stdin.close()
    deadline = time.monotonic() + 120
    while not until() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_export_leaves_nothing_under_a_final_name_and_the_next_one_finishes(
    run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _killed_export(run_folder, lambda: out.exists() and any(out.iterdir()))
    assert out.is_dir()
    assert all(path.name.endswith(".partial") for path in out.iterdir())
    _export(run_folder)
    assert sorted(path.name for path in out.iterdir()) == ["model.Modelfile", "model.gguf", "model.json"]


def test_what_a_kill_between_the_last_renames_leaves_is_taken_over(run_folder: Path, tmp_path: Path) -> None:
    first = _export(run_folder)
    (tmp_path / first.gguf_file).unlink()
    assert _export(run_folder).sha256 == first.sha256
    (tmp_path / first.gguf_file).unlink()
    with pytest.raises(BadRequest, match="exists already"):
        _export(run_folder, "q8_0")


@pytest.mark.slow
def test_the_light_import_of_the_converters_writes_what_auto_rounds_own_way_writes(
    tiny_llama: Path, tmp_path: Path
) -> None:
    target = tmp_path / "plain.gguf"
    code = (
        "import sys, gguf; from pathlib import Path\n"
        "from auto_round.export.export_to_gguf.llama_cpp_conversion import get_conversion\n"
        "folder = Path(sys.argv[1]); context = get_conversion(folder)\n"
        "context.ModelBase.load_hparams(folder, False)\n"
        "converter = context.get_model_class('LlamaForCausalLM')\n"
        "converter(folder, gguf.LlamaFileType.MOSTLY_F16, Path(sys.argv[2])).write()\n"
    )
    subprocess.run([sys.executable, "-c", code, tiny_llama, target], check=True, capture_output=True)
    convert_to_gguf(tiny_llama, tmp_path / "light.gguf", "f16")
    assert file_sha256(target) == file_sha256(tmp_path / "light.gguf")
