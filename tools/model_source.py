"""What an export starts from: an adapter with its base, a whole model folder, or a base model by name.

`find_model` says which and where the parts are; `assemble` makes one complete model folder of them,
`assemble_settings` one without weights.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import METADATA, read_json, write_json
from .base import BadRequest, slug
from .base_models import TOKENIZER_FILES, fetch_base_model
from .dataset_folder import read_card
from .locations import local_path
from .merge import ADAPTER_FILE, merge_adapter
from .run_folder import RUN_FILE
from .safetensors_files import float_dtype, model_tensors

__all__ = ["ModelSource", "assemble", "assemble_settings", "find_model"]

# Files that belong to a model beside its weights. Code, pickles and other weights are never taken along.
_CONFIG_FILES = ("config.json", "generation_config.json")
_WEIGHT_FILES = ("model*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class ModelSource:
    """Where a model's parts are.

    Attributes:
        name: short, safe as a file name.
        model: folder with config.json and whole weights; of an adapter, its base.
        adapter: folder with the adapter, None for a whole model.
        run: the folder that training wrote, None for a model that was not tuned here.
        base_model: name of the untuned base as the user wrote it, None where it is unknown.
        dataset: folder of the rows it was trained on, None where unknown.
    """

    name: str
    model: Path
    adapter: Path | None = None
    run: str | None = None
    base_model: str | None = None
    dataset: str | None = None

    @property
    def tuned(self) -> bool:
        return self.run is not None

    def heldout(self) -> str | None:
        """Folder of the rows that were never trained on, where the dataset is still there and has one."""
        if self.dataset is None:
            return None
        try:
            relative = read_card(self.dataset).get("heldout")
        except BadRequest:
            return None
        return os.path.normpath(Path(self.dataset) / str(relative)) if relative else None


def find_model(checkpoint_dir: str) -> ModelSource:
    """Say what a checkpoint is and find its parts; a base model is fetched if need be.

    Raises:
        BadRequest: neither adapter nor model, an unfinished run, pickles, custom code, a base that is not there.
    """
    path = local_path(checkpoint_dir)
    if path is None or not path.is_dir():
        return ModelSource(slug(checkpoint_dir), fetch_base_model(checkpoint_dir), base_model=checkpoint_dir)
    metadata = _metadata(path)
    if not metadata and ((path / RUN_FILE).exists() or (path / "checkpoints").is_dir()):
        raise BadRequest(f"the training run in `{checkpoint_dir}` is not finished; go on with: tunesmith resume")
    name = slug(str(path.resolve()))
    if (path / "adapter_config.json").is_file():
        return _adapter(checkpoint_dir, path, name, metadata)
    if (path / "adapter_model.bin").is_file() or (path / ADAPTER_FILE).is_file():
        raise BadRequest(f"`{checkpoint_dir}` holds an adapter without its adapter_config.json; it cannot be used")
    if not (path / "config.json").is_file():
        raise BadRequest(
            f"`{checkpoint_dir}` is not a checkpoint: it holds neither adapter_config.json nor config.json. "
            "Pass the folder that finetune_unsloth reported"
        )
    base = metadata.get("base_model")
    run = metadata.get("run") or checkpoint_dir if base else None
    return ModelSource(name, fetch_base_model(checkpoint_dir), None, run, base, metadata.get("dataset"))


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        value = read_json(folder / METADATA)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadRequest(f"`{folder / METADATA}` is damaged: {error}") from error
    return value if isinstance(value, dict) else {}


def _adapter(written: str, path: Path, name: str, metadata: dict[str, Any]) -> ModelSource:
    if not (path / ADAPTER_FILE).is_file():
        if (path / "adapter_model.bin").is_file():
            raise BadRequest(
                f"`{written}` holds its adapter as a pickle (`adapter_model.bin`), which can run code when loaded; "
                "save it as safetensors"
            )
        raise BadRequest(f"`{written}` holds adapter_config.json without {ADAPTER_FILE}")
    base = metadata.get("base_model")
    if not base:
        try:
            base = read_json(path / "adapter_config.json").get("base_model_name_or_path")
        except (OSError, ValueError, AttributeError) as error:
            raise BadRequest(f"`{path / 'adapter_config.json'}` cannot be read: {error}") from error
    if not isinstance(base, str) or not base:
        raise BadRequest(f"the adapter in `{written}` does not name its base model")
    try:
        folder = fetch_base_model(base)
    except BadRequest as error:
        raise BadRequest(f"the base model of `{written}` is not there: {error}") from error
    return ModelSource(name, folder, path, written, base, metadata.get("dataset"))


def assemble(source: ModelSource, target: Path, *, link: bool) -> int:
    """Make the new folder `target` a complete model: 16-bit weights, config, tokenizer; no code, no pickles.

    Args:
        link: point to whole weights instead of copying them; an adapter is merged in any case.

    Returns:
        Number of tensors that the adapter changed; 0 without one.

    Raises:
        BadRequest, ToolFailed: as `merge_adapter`; packed weights (bitsandbytes, fp8) are no 16-bit base.
    """
    for tensor in model_tensors(source.model).values():
        float_dtype(tensor)
    changed = 0
    if source.adapter:
        changed = merge_adapter(source.adapter, source.model, target)
    else:
        target.mkdir(parents=True)
        for pattern in _WEIGHT_FILES:
            for file in source.model.glob(pattern):
                _take(file, target, link=link)
    assemble_settings(source, target)
    return changed


def assemble_settings(source: ModelSource, target: Path) -> None:
    """Copy what a model is beside its weights into the folder `target`: config and tokenizer.

    The tokenizer and chat template of a run stand above those of its base.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in (*_CONFIG_FILES, *TOKENIZER_FILES):
        folders = (source.adapter, source.model) if source.adapter and name in TOKENIZER_FILES else (source.model,)
        if found := next((folder for folder in folders if (folder / name).is_file()), None):
            _take(found / name, target, link=False)
    _clean_configs(target)


def _take(file: Path, folder: Path, *, link: bool) -> None:
    if link:
        (folder / file.name).symlink_to(file.resolve())
    else:
        shutil.copyfile(file, folder / file.name)


def _clean_configs(folder: Path) -> None:
    """Let the copied configs say the same to every reader."""
    for name in ("config.json", "tokenizer_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        config = read_json(file)
        clean = {**config}
        # Names code to download; the models that get here have built-in classes.
        clean.pop("auto_map", None)
        if (folder / "chat_template.jinja").is_file():
            # transformers reads the file first, llama.cpp's converters this older place.
            clean.pop("chat_template", None)
        if name == "tokenizer_config.json" and (folder / "tokenizer.model").is_file():
            clean = _with_added_tokens(folder, clean)
        if clean != config:
            write_json(file, clean)


def _with_added_tokens(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Repeat tokenizer.json's added tokens in tokenizer_config.json, where transformers before version 5 kept them.

    llama.cpp's converters look there beside a sentencepiece vocabulary; else `<start_of_turn>` becomes plain text.
    """
    if config.get("added_tokens_decoder") or not (folder / "tokenizer.json").is_file():
        return config
    added = read_json(folder / "tokenizer.json").get("added_tokens") or []
    decoder = {str(token["id"]): {name: value for name, value in token.items() if name != "id"} for token in added}
    return {**config, "added_tokens_decoder": decoder}
