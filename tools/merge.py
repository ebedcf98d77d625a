"""Merge a LoRA adapter into its 16-bit base: W + scale * B @ A in float32, rounded back to the base's type.

No torch. `merge_adapter` copies the base's files and writes the changed tensors in place, one at a time;
`lora_pairs` and `merge_pair` are for those who want the merged tensors and no files.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import BadRequest, ToolFailed, emit, note
from .float_formats import from_float32, to_float32
from .safetensors_files import StoredTensor, float_dtype, index_tensors, model_tensors, read_float32, read_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ADAPTER_FILE", "LoraPair", "adapter_alpha", "lora_pairs", "merge_adapter", "merge_pair", "note_changes"]

ADAPTER_FILE = "adapter_model.safetensors"

# Ways to start LoRA that leave the base's weights alone. The others (pissa, olora, loftq, corda, lora_ga) subtract
# something from the base, so that the adapter fits the original no more.
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")

# Options of peft's LoraConfig that change what a merge means -> how to name them to a person.
_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "biases beside the LoRA matrices",
    "modules_to_save": "whole modules trained beside the LoRA matrices (`modules_to_save`)",
    "trainable_token_indices": "single trained embeddings (`trainable_token_indices`)",
    "target_parameters": "LoRA on bare parameters (`target_parameters`)",
    "layer_replication": "replicated layers",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow routing",
    "alora_invocation_tokens": "activated LoRA",
    "velora_config": "VeLoRA",
    "monteclora_config": "Monte Carlo LoRA",
    "kasa_config": "KaSA",
}


@dataclass(frozen=True)
class LoraPair:
    """The LoRA matrices of one base tensor: A (rank, in), B (out, rank); for an embedding in and out are swapped."""

    base: StoredTensor
    a: StoredTensor
    b: StoredTensor
    scale: float
    transposed: bool


def merge_adapter(adapter: Path, base: Path, target: Path) -> int:
    """Write the base's weight files with the adapter merged into the new folder `target`; returns tensors changed.

    Raises:
        BadRequest: the adapter is damaged, of a kind that cannot be merged, or belongs to another base.
        ToolFailed: the adapter changes nothing, or a merged weight is not finite.
    """
    tensors = model_tensors(base)
    pairs = lora_pairs(adapter, tensors)
    target.mkdir(parents=True)
    for file in sorted({tensor.file for tensor in tensors.values()}):
        shutil.copyfile(file, target / file.name)
    if (base / "model.safetensors.index.json").is_file():
        shutil.copyfile(base / "model.safetensors.index.json", target / "model.safetensors.index.json")
    changed = 0
    for done, pair in enumerate(pairs, start=1):
        merged, is_changed = merge_pair(pair)
        with (target / pair.base.file.name).open("r+b") as stream:
            stream.seek(pair.base.offset)
            stream.write(merged.tobytes())
        changed += is_changed
        emit("step", done=done, total=len(pairs), unit="merged tensors")
    note_changes(adapter, changed, len(pairs))
    return changed


def note_changes(adapter: Path, changed: int, pairs: int) -> None:
    """Report targeted tensors that stayed as they were. Raises ToolFailed where all of them did."""
    if changed == 0:
        raise ToolFailed(
            f"the adapter in `{adapter}` changes nothing: after rounding, all {pairs} targeted tensors equal the "
            "base's; train longer or with a higher learning rate"
        )
    if changed < pairs:
        note(f"the adapter leaves {pairs - changed} of its {pairs} targeted tensors as they were")


def merge_pair(pair: LoraPair) -> "tuple[np.ndarray[Any, Any], bool]":
    """The merged tensor's bytes in the base's type (uint8, flat), and whether they differ from the base's.

    Raises:
        ToolFailed: a merged weight is not finite.
    """
    import numpy as np

    dtype = float_dtype(pair.base)
    before = read_rows(pair.base, 0, pair.base.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):  # seen below, with the tensor's name
        delta = read_float32(pair.b) @ read_float32(pair.a)
        delta *= np.float32(pair.scale)
        weights = to_float32(before, dtype).reshape(pair.base.shape)
        weights += delta.T if pair.transposed else delta
        merged = from_float32(weights, dtype)
    if not np.isfinite(to_float32(merged, dtype)).all():
        raise ToolFailed(f"merging makes `{pair.base.name}` infinite or not a number: the adapter is damaged")
    return merged, not np.array_equal(merged, before)


def lora_pairs(adapter: Path, tensors: dict[str, StoredTensor]) -> list[LoraPair]:
    """Match every matrix of the adapter with a tensor of its base (name -> tensor); in the order of the base's files.

    Raises:
        BadRequest: the adapter is damaged, of a kind that cannot be merged, or belongs to another base.
    """
    config = _config(adapter)
    stored = index_tensors(adapter / ADAPTER_FILE)
    pairs = []
    left = set(stored)
    for name, a in stored.items():
        match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_(embedding_)?A(?:\.weight)?(?:\.default)?", name)
        if not match:
            continue
        module, embedding = match.group(1), bool(match.group(2))
        b_name = name.replace("lora_embedding_A", "lora_embedding_B") if embedding else name.replace("lora_A", "lora_B")
        if b_name not in stored:
            raise BadRequest(f"`{adapter / ADAPTER_FILE}` is damaged: it holds `{name}` without `{b_name}`")
        left -= {name, b_name}
        base = _base_tensor(module, tensors, adapter)
        pair = LoraPair(
            base, a, stored[b_name], _scale(config, module, a.shape[0]), embedding or bool(config.get("fan_in_fan_out"))
        )
        rows, columns = pair.b.shape[0], pair.a.shape[-1]
        expected = (columns, rows) if pair.transposed else (rows, columns)
        if len(a.shape) != 2 or pair.b.shape != (rows, a.shape[0]) or base.shape != expected:
            raise BadRequest(
                f"`{module}` has shape {base.shape} in the base, which the adapter's matrices {a.shape} and "
                f"{pair.b.shape} do not fit: it was trained on another base model"
            )
        pairs.append(pair)
    if left:
        raise BadRequest(
            f"`{adapter / ADAPTER_FILE}` holds `{min(left)}`, which is no LoRA matrix and cannot be merged"
        )
    if not pairs:
        raise BadRequest(f"`{adapter / ADAPTER_FILE}` holds no LoRA matrices")
    return sorted(pairs, key=lambda pair: (pair.base.file, pair.base.offset))


def adapter_alpha(adapter: Path) -> float:
    """`lora_alpha` of the whole adapter; single modules may have another, which their pair's `scale` holds.

    Raises:
        BadRequest: it is no number, or zero.
    """
    alpha = _config(adapter).get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or alpha == 0:
        raise BadRequest(f"`lora_alpha` of the adapter is {alpha!r}; it must be a number other than zero")
    return float(alpha)


def _config(adapter: Path) -> dict[str, Any]:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"`{adapter / 'adapter_config.json'}` cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise BadRequest(f"`{adapter}` is an adapter of type {kind!r}; only LORA can be merged")
    refused = [words for option, words in _REFUSED.items() if config.get(option)]
    if config.get("bias", "none") != "none":
        refused.append(f"trained biases (`bias` {config['bias']!r})")
    start = config.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        refused.append(f"a base changed by `init_lora_weights` {start!r}")
    if refused:
        raise BadRequest(f"`{adapter}` uses {', '.join(refused)}, which cannot be merged; train with plain LoRA")
    return config


def _base_tensor(module: str, tensors: dict[str, StoredTensor], adapter: Path) -> StoredTensor:
    """The weight of `module`; where the base stores its language model under another prefix, by its layer's path."""
    exact = tensors.get(f"{module}.weight")
    if exact is not None:
        return exact
    tail = re.search(r"(?:layers|h|blocks)\.\d+\..+|embed_tokens$", module)
    found = [name for name in tensors if tail and name.endswith(f".{tail.group()}.weight")]
    found = [name for name in found if "vision" not in name and "audio" not in name] or found
    if len(found) == 1:
        return tensors[found[0]]
    if module.endswith("lm_head"):
        raise BadRequest(
            f"`{adapter}` changes `{module}`, but its base uses the embeddings as output layer, so that a merge would "
            "change the input too; train without lm_head in target_modules"
        )
    raise BadRequest(f"`{adapter}` changes `{module}`, which its base model does not have; is it the right base?")


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    """alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (peft, `LoraLayer.update_layer`)."""
    stated = _pattern(config.get("rank_pattern"), module, config.get("r"))
    alpha = _pattern(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if not isinstance(alpha, int | float) or isinstance(alpha, bool):
        raise BadRequest(f"`lora_alpha` of the adapter is {alpha!r}; it must be a number")
    if stated != rank:
        raise BadRequest(f"the adapter's config says rank {stated!r} for `{module}`, its matrices have {rank}")
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _pattern(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    """The first of peft's per-module values whose pattern ends the module's path (`get_pattern_key` in peft)."""
    for pattern, value in (patterns or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise BadRequest(f"the pattern {pattern!r} in adapter_config.json is broken: {error}") from error
    return default
