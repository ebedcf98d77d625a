"""An adapter is merged as peft merges it, or refused in a sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import write_adapter
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.float_formats import from_float32, to_float32
from tunesmith.tools.merge import merge_adapter
from tunesmith.tools.safetensors_files import index_tensors, model_tensors, read_float32


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"target_parameters": ["experts.down_proj"]}, "target_parameters"),
        ({"r": 8}, "rank 8"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"alpha_pattern": {"[": 3}}, "pattern"),
    ],
)
def test_what_cannot_be_merged_is_refused(config: dict[str, Any], said: str, tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, **config)
    with pytest.raises(BadRequest, match=said.replace("[", r"\[")):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_changes_nothing_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, size=0)
    with pytest.raises(ToolFailed, match="changes nothing"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


def test_an_adapter_too_small_for_16_bits_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, size=1e-6)
    with pytest.raises(ToolFailed, match="changes nothing"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


def test_an_adapter_of_infinite_numbers_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, size=1e20)
    with pytest.raises(ToolFailed, match="infinite"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


def test_an_adapter_of_another_base_is_refused(tiny_llama: Path, base_dir: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama)
    with pytest.raises(BadRequest, match="another base model"):
        merge_adapter(adapter, base_dir, tmp_path / "merged")


def test_a_layer_that_the_base_lacks_is_named(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    adapter = write_adapter(tmp_path / "adapter", tiny_llama)
    file = adapter / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.9"): value for name, value in load_file(file).items()}, file)
    with pytest.raises(BadRequest, match=r"layers\.9.*does not have"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


def test_a_tied_output_layer_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    adapter = write_adapter(tmp_path / "adapter", tiny_llama)
    pair = {
        "base_model.model.lm_head.lora_A.weight": np.ones((4, 64), dtype=np.float32),
        "base_model.model.lm_head.lora_B.weight": np.ones((49152, 4), dtype=np.float32),
    }
    save_file(pair, adapter / "adapter_model.safetensors")
    with pytest.raises(BadRequest, match="lm_head"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


@pytest.mark.parametrize("cut", [4, 100, -10])
def test_a_truncated_adapter_is_refused(cut: int, tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama)
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(BadRequest, match=r"safetensors|truncated"):
        merge_adapter(adapter, tiny_llama, tmp_path / "merged")


def test_an_index_that_points_outside_its_folder_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../secret.safetensors"}}))
    with pytest.raises(BadRequest, match="outside"):
        model_tensors(model)


def test_only_targeted_tensors_change_and_by_the_formula(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, layers=("q_proj", "down_proj"), rank=8, use_rslora=True)
    assert merge_adapter(adapter, tiny_llama, tmp_path / "merged") == 4
    before, after = model_tensors(tiny_llama), model_tensors(tmp_path / "merged")
    pairs = index_tensors(adapter / "adapter_model.safetensors")
    for name, tensor in before.items():
        old, new = read_float32(tensor), read_float32(after[name])
        if "q_proj" in name or "down_proj" in name:
            a, b = (
                read_float32(pairs[f"base_model.model.{name.removesuffix('.weight')}.lora_{side}.weight"])
                for side in "AB"
            )
            assert np.array_equal(new, (old + 16 / 8**0.5 * (b @ a)).astype(np.float16).astype(np.float32))
        else:
            assert np.array_equal(old, new)


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    import torch

    random = np.random.default_rng(3)
    values = random.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.00390625], dtype=np.float32)])
    ours = to_float32(from_float32(values, "BF16"), "BF16")
    theirs = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    assert np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # in torchao, which peft imports
@pytest.mark.parametrize(
    "config", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}, "rank_pattern": {"mlp.up_proj": 4}}]
)
def test_the_merge_is_pefts(config: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = write_adapter(tmp_path / "adapter", tiny_llama, **config)
    merge_adapter(adapter, tiny_llama, tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(str(tiny_llama), dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().state_dict()
    for name, tensor in model_tensors(tmp_path / "merged").items():
        expected = peft[name].to(torch.float16).float().numpy()
        np.testing.assert_allclose(read_float32(tensor), expected, rtol=2e-3, atol=1e-6)
