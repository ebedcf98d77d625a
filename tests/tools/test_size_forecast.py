"""The size of a GGUF file is known from the shapes of its tensors, within 1 % of what an export writes."""

import json
import shutil
from pathlib import Path

import pytest
from adapters import write_adapter
from tunesmith.tools.artifacts import write_metadata
from tunesmith.tools.catalogue import BASE_MODELS
from tunesmith.tools.export_gguf import ExportGgufInput, export_gguf
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_mixture import FILE_TYPES
from tunesmith.tools.model_shape import CATALOGUE_SHAPES, catalogue_tensors, folder_tensors, gguf_name
from tunesmith.tools.size_forecast import forecast_bytes

pytestmark = [
    pytest.mark.usefixtures("workdir"),
    # in torchao, which transformers' models import
    pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning"),
]


@pytest.mark.parametrize("name", ["somebody/some-model", "runs/none", "no-such-model", "/"])
def test_a_model_whose_shapes_are_not_known_has_no_forecast(name: str) -> None:
    assert forecast_bytes(name, "q4_k_m") is None


def test_a_type_that_is_no_gguf_file_type_has_no_forecast() -> None:
    assert forecast_bytes("smollm2-135m", "q9_z") is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", '{"model_type": "mamba"}'),
        ("config.json", "not JSON"),
        ("config.json", "[]"),
        ("model.safetensors", "cut off"),
    ],
)
def test_a_folder_of_another_architecture_or_a_broken_one_has_no_forecast(
    file: str, text: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    (folder / file).write_text(text)
    assert forecast_bytes(str(folder), "q4_k_m") is None


def test_a_folder_with_an_unknown_tensor_has_no_forecast(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.router.weight"] = tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    assert forecast_bytes(str(folder), "q4_k_m") is None


def test_runs_that_name_each_other_as_their_base_have_no_forecast(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_metadata(tmp_path / "runs" / name, {"base_model": f"runs/{base}"})
    assert forecast_bytes("runs/a", "q8_0") is None


def test_every_catalogue_model_has_the_weights_that_its_card_counts() -> None:
    counted = {name: tensors.weights for name in BASE_MODELS if (tensors := catalogue_tensors(name))}
    # Gemma 3 4B sees pictures; an export writes its text part: 419,816,304 weights less.
    assert counted == {name: entry.parameters for name, entry in BASE_MODELS.items()} | {"gemma3-4b": 3_880_263_168}
    assert set(CATALOGUE_SHAPES) == set(BASE_MODELS)


@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m", "qwen3-0.6b", "phi4-mini"])
def test_the_names_of_a_catalogue_models_tensors_are_those_that_llama_cpp_expects(name: str) -> None:
    import gguf

    tensors = catalogue_tensors(name)
    assert tensors is not None
    kind = next(kind for kind, text in gguf.MODEL_ARCH_NAMES.items() if text == tensors.architecture)
    expected = {gguf.TENSOR_NAMES[part] for part in gguf.MODEL_TENSORS[kind]}
    assert {
        part.removesuffix(".weight").replace("blk.0.", "blk.{bid}.")
        for part in tensors.shapes
        if "blk." not in part or part.startswith("blk.0.")
    } <= expected


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3", "phi3"])
def test_tensors_are_named_as_ggufs_own_table_names_them(architecture: str) -> None:
    import gguf

    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(kind, 2)
    parts = ["input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"]
    parts += {"phi3": ["self_attn.qkv_proj", "mlp.gate_up_proj"]}.get(architecture, ["mlp.gate_proj", "mlp.up_proj"])
    if architecture == "gemma3":
        parts += ["pre_feedforward_layernorm", "post_feedforward_layernorm", "self_attn.q_norm"]
    for name in ["model.embed_tokens", "model.norm", "lm_head", *(f"model.layers.1.{part}" for part in parts)]:
        expected = table.get_name(f"{name}.weight", try_suffixes=(".weight",))
        if expected is not None:  # an architecture without this part
            assert gguf_name(f"{name}.weight", architecture) == expected


def test_the_part_of_a_model_that_sees_pictures_is_left_out() -> None:
    assert gguf_name("vision_tower.encoder.layers.0.mlp.fc1.weight", "gemma3") == ""
    assert gguf_name("model.language_model.layers.0.mlp.up_proj.weight", "gemma3") == "blk.0.ffn_up.weight"


def test_a_run_weighs_what_its_base_weighs(tiny_llama: Path, tmp_path: Path) -> None:
    run = write_adapter(tmp_path / "runs" / "tiny", tiny_llama)
    assert forecast_bytes(str(run), "q6_k") == forecast_bytes(str(tiny_llama), "q6_k")
    write_metadata(run, {"base_model": "smollm2-135m"})
    assert forecast_bytes(str(run), "q6_k") == forecast_bytes("smollm2-135m", "q6_k")


def test_a_hub_model_is_known_once_it_was_downloaded(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert forecast_bytes("somebody/tiny", "q8_0") is None
    cached = tmp_path / "cache" / "models--somebody--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc123")
    shutil.copytree(tiny_llama, cached / "snapshots" / "abc123")
    assert forecast_bytes("somebody/tiny", "q8_0") == forecast_bytes(str(tiny_llama), "q8_0")


def test_a_vocabulary_that_is_too_large_to_read_is_estimated(tiny_llama: Path, tmp_path: Path) -> None:
    measured = folder_tensors(tiny_llama)
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "spaces": " " * 9_000_000}))
    estimated = folder_tensors(folder)
    assert measured is not None and estimated is not None
    assert abs(estimated.vocabulary_bytes / measured.vocabulary_bytes - 1) < 0.1


def _off(checkpoint: str, kind: str, forecast_of: str | None = None) -> float:
    """Export, and how far the forecast is from the file, as a share of it."""
    written = export_gguf(
        ExportGgufInput(checkpoint_dir=checkpoint, quantization=kind, output_file=f"{kind}.gguf", check_fidelity=False)
    )
    forecast = forecast_bytes(forecast_of or checkpoint, kind)
    assert forecast is not None
    return abs(forecast / written.bytes - 1)


@pytest.mark.parametrize("kind", ["q4_k_m", "f16"])
def test_the_forecast_of_a_small_model_is_within_a_hundredth_of_the_file(
    kind: str, tiny_llama: Path, tiny_gemma: Path
) -> None:
    assert _off(str(tiny_llama), kind) < 0.01
    Path(f"{kind}.gguf").unlink()
    Path(f"{kind}.Modelfile").unlink()
    Path(f"{kind}.json").unlink()
    assert _off(str(tiny_gemma), kind) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_forecast_is_within_a_thousandth_of_the_real_file(kind: str, base_dir: Path) -> None:
    assert _off("smollm2-135m", kind) < 0.001
    header = read_header(Path(f"{kind}.gguf"))
    assert len(header.tensors) == 272
    forecast = forecast_bytes(str(base_dir), kind)
    assert forecast is not None and abs(forecast / Path(f"{kind}.gguf").stat().st_size - 1) < 0.001
