"""The Modelfile beside a GGUF: what Ollama needs to serve it as it was trained.

Ollama knows some chat templates by heart and gives every other file a bare `{{ .Prompt }}`, which makes a tuned model
babble; so the template and the stop words are always written out.
"""

from pathlib import Path
from typing import Any

from .artifacts import read_json
from .base import BadRequest, ToolFailed, note
from .chat_shape import ChatShape, find_shape, go_template
from .dataset_folder import read_card, read_rows
from .llama_cpp import LlamaModel

__all__ = ["modelfile", "shared_system"]

# A tuned model is measured with greedy answers; a low temperature keeps near them. SmolLM2's card advises the same.
_TEMPERATURE = 0.2
_MAX_CONTEXT = 8192  # a longer one takes memory that small machines lack; `num_ctx` can be raised by hand


def modelfile(gguf_name: str, model: LlamaModel, model_dir: Path, dataset: str | None) -> str:
    """The text of the Modelfile for a GGUF in the same folder.

    Args:
        model: the loaded GGUF; its vocabulary suffices.
        model_dir: the folder it was made from, for its generation_config.json.
        dataset: the prepared dataset it was trained on, where known.
    """
    bos, eos = (_text_of(model, token) for token in (model.bos, model.eos))
    shape = None
    if model.chat_template:
        try:
            shape = find_shape(model.chat_template, bos=bos, eos=eos, strip_bos=model.add_bos)
        except ToolFailed as error:
            note(f"the Modelfile's template passes bare prompts, because {error}")
    else:
        note("the model has no chat template, so the Modelfile's template passes bare prompts")
    lines = [f"FROM ./{gguf_name}", f"TEMPLATE {_quoted(go_template(shape) if shape else '{{ .Prompt }}')}"]
    if dataset and (system := shared_system(dataset)):
        if '"""' in system:
            note("the shared system message holds three quotes, which a Modelfile cannot write; SYSTEM is left out")
        else:
            lines.append(f"SYSTEM {_quoted(system)}")
    lines += [f'PARAMETER stop "{word}"' for word in _stop_words(model, shape, eos)]
    lines.append(f"PARAMETER temperature {_temperature(model_dir)}")
    lines.append(f"PARAMETER num_ctx {min(model.n_ctx_train or _MAX_CONTEXT, _MAX_CONTEXT)}")
    return "\n".join(lines) + "\n"


def shared_system(dataset: str) -> str | None:
    """The system message that all rows of a prepared dataset begin with, or None."""
    try:
        column = {"messages": "messages", "preference": "prompt"}.get(read_card(dataset)["kind"])
        rows = read_rows(dataset) if column else []
    except BadRequest:
        return None  # moved or deleted since the training; the model works without
    first = [row[column][0] for row in rows if column and row[column]]
    systems = {message["content"] if message["role"] == "system" else "" for message in first}
    return next(iter(systems)) or None if len(systems) == 1 else None


def _text_of(model: LlamaModel, token: int | None) -> str:
    return "" if token is None else model.token_bytes(token).decode("utf-8", errors="replace")


def _stop_words(model: LlamaModel, shape: ChatShape | None, eos: str) -> list[str]:
    """What ends an answer: the text after the assistant's words, the end-of-text and end-of-turn tokens."""
    turn = shape.assistant[1].strip() if shape else ""
    words = dict.fromkeys((turn, eos, _text_of(model, model.eot)))
    return [word for word in words if word and "\n" not in word and '"' not in word]


def _temperature(model_dir: Path) -> float:
    try:
        config: Any = read_json(model_dir / "generation_config.json")
    except (OSError, ValueError):
        return _TEMPERATURE
    value = config.get("temperature") if isinstance(config, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value <= 2 else _TEMPERATURE


def _quoted(text: str) -> str:
    return f'"""{text}"""'
