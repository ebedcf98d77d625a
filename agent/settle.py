"""Arguments of every step: values asked for, defaults, paths that overwrite nothing; and which steps ran already."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tunesmith.tools.base import slug
from tunesmith.tools.catalogue import ADAPTER_TYPE, DATASETS, QUANTIZATIONS, find_base_model, learning_rate_for
from tunesmith.tools.locations import is_hub_id, local_path
from tunesmith.tools.registry import TOOLS

from .lexicon import NUMERIC
from .pipeline import INPUT, OUTPUT, Ask, Draft, produced
from .plan import History, Origin, Plan, Step
from .questions import missing, unknown_model, unknown_quantization
from .ranges import wanted_range

__all__ = ["Settler"]


class Settler:
    """Gives every draft its arguments, in order, so that a step sees the paths of those before it."""

    def __init__(self, history: History, on_disk: Callable[[str], bool], *, again: frozenset[str]) -> None:
        self.on_disk = on_disk
        self.history = history
        self.finished = [step for ran in history.ran for step in ran.plan.steps[: ran.finished]]
        # Tools to run once more, though they ran; a plan that did not finish is finished instead.
        finished = bool(history.ran) and all(step in self.finished for step in (history.last or Plan("")).steps)
        self.again = again if finished else frozenset[str]()
        self.taken = {path.rstrip("/") for path in history.taken}
        for ran in history.ran:
            for step in ran.plan.steps if ran.begun else ():
                self.taken |= {path.rstrip("/") for path in _writes(step.tool, step.args)}
        self.done: dict[int, Step] = {}
        self.exports: dict[str, int] = {}

    def settle(self, drafts: list[Draft]) -> tuple[Step, ...]:
        """The drafts as steps.

        Raises:
            Ask: a value is missing, unknown or out of its range.
        """
        steps: list[Step] = []
        for draft in drafts:
            step = self._step(draft)
            if any(step.tool == other.tool and step.args == other.args for other in steps):
                self.done[id(draft)] = step
                continue
            steps.append(step)
            self.done[id(draft)] = step
            self.taken |= {path.rstrip("/") for path in _writes(step.tool, step.args)}
        return tuple(steps)

    def _step(self, draft: Draft) -> Step:
        tool = draft.tool
        args, origin = self._values(draft)
        args = _checked(tool, args)
        output = OUTPUT.get(tool)
        asked = output is not None and draft.values.get(output, (None, "default"))[1] == "you"
        keyed = {name: value for name, value in args.items() if name != output or asked}
        old = None if tool in self.again else self._finished(tool, keyed, output, asked)
        if old is not None:
            if output is not None:
                args[output] = old.args[output]
                origin.setdefault(output, "default" if old.origin.get(output, "default") == "default" else "last run")
            if tool == "export_gguf":
                self.exports[args["checkpoint_dir"]] = self.exports.get(args["checkpoint_dir"], 0) + 1
            return Step(tool, args, {name: origin.get(name, "default") for name in args}, reuse=True)
        if output is not None and not asked:
            args[output] = self._path(draft, args)
            origin.setdefault(output, "default")
        elif tool == "export_gguf":
            self._suffix(draft, args)
        args = _checked(tool, args)
        return Step(tool, args, {name: origin.get(name, "default") for name in args})

    def _finished(self, tool: str, keyed: dict[str, Any], output: str | None, asked: bool) -> Step | None:
        for step in reversed(self.finished):
            other = {name: value for name, value in step.args.items() if name != output or asked}
            if step.tool == tool and other == keyed:
                return step
        return None

    def _values(self, draft: Draft) -> tuple[dict[str, Any], dict[str, Origin]]:
        """Values asked for, then the output that is read, then defaults; relative changes last."""
        tool, args, origin = draft.tool, dict[str, Any](), dict[str, Origin]()
        for name, field in TOOLS[tool].input.model_fields.items():
            if name in draft.values:
                args[name], origin[name] = draft.values[name]
            elif draft.feed is not None and name == INPUT.get(tool):
                step = self.done[id(draft.feed)]
                args[name] = produced(step.tool, step.args)
                origin[name] = step.origin.get(OUTPUT[step.tool], "default")
            elif not field.is_required() and field.default is not None:
                args[name] = list(field.default) if isinstance(field.default, tuple) else field.default
        for name, field in TOOLS[tool].input.model_fields.items():
            if field.is_required() and name not in args:
                key = "prepare_dataset.source" if name == "dataset" else f"{tool}.{name}"
                raise Ask(missing(key.replace("export_safetensors", "export_gguf")), key)
        for name in ("base_model", "checkpoint_dir", "tokenizer"):
            if name in args:
                args[name] = _model_name(f"{tool}.{name}", str(args[name]))
        if tool == "prepare_dataset":
            args["source"] = _catalogued(str(args["source"]))
        if tool == "run_eval" and local_path(str(args["eval_set"])) is None and "/" not in str(args["eval_set"]):
            args["eval_set"] = str(args["eval_set"]).lower()
        if tool == "export_gguf" and str(args["quantization"]).lower() not in (*QUANTIZATIONS, ADAPTER_TYPE):
            raise Ask(unknown_quantization(str(args["quantization"])), "export_gguf.quantization", refuse=True)
        if tool == "finetune_unsloth" and "learning_rate" not in args:
            args["learning_rate"] = learning_rate_for(str(args["base_model"]), str(args["method"]))
        for name, change in sorted(draft.changes.items(), key=lambda item: item[0] != "lora_r"):
            if name == "lora_alpha":
                args.setdefault(name, args["lora_r"])
            if not isinstance(args.get(name), int | float) or isinstance(args[name], bool):
                key = f"{tool}.{name}"
                raise Ask(f"`{name}` has no value yet that could change; say {wanted_range(key)}", key)
            args[name], origin[name] = _changed_value(args[name], change), "you"
        if (
            tool == "finetune_unsloth"
            and "lora_alpha" not in args
            and isinstance(args["lora_r"], int)
            and args["lora_r"] > 0
        ):
            args["lora_alpha"] = args["lora_r"]
        return args, origin

    def _suffix(self, draft: Draft, args: dict[str, Any]) -> None:
        """A file that the user named holds one type; further types of the request get their own name from it."""
        path = Path(str(args["output_file"]))
        if path.suffix.lower() != ".gguf":
            args["output_file"] = f"{str(path).rstrip('/')}/{_gguf_stem(draft, args)}.gguf"
            path = Path(args["output_file"])
        if any(
            step.tool == "export_gguf" and step.args["output_file"] == args["output_file"]
            for step in self.done.values()
        ):
            args["output_file"] = self._free(str(path.with_suffix("")) + f"-{args['quantization']}", ".gguf")

    def _path(self, draft: Draft, args: dict[str, Any]) -> str:
        """Where a step writes when this message does not say: the last run's name or the default, made free."""
        tool, output = draft.tool, OUTPUT[draft.tool]
        unfinished = draft.old is not None and draft.old not in self.finished
        if unfinished and draft.old is not None and self._same_but_output(draft.old, args, output):
            return str(draft.old.args[output])
        kept = draft.values.get(output)
        if tool == "prepare_dataset":
            base = str(kept[0]) if kept else str(args[output])
            return self._free_dataset(base, str(args["split"]))
        if tool == "export_gguf":
            checkpoint = str(args["checkpoint_dir"])
            count = self.exports[checkpoint] = self.exports.get(checkpoint, 0) + 1
            stem = re.sub(r"\.gguf$", "", str(kept[0])) if kept else f"models/{_gguf_stem(draft, args)}"
            return self._free(stem + (f"-{args['quantization']}" if count > 1 else ""), ".gguf")
        if kept:
            return self._free(str(kept[0]).rstrip("/"), "")
        if tool == "export_safetensors":
            return self._free(f"models/{slug(str(args['checkpoint_dir']))}-merged", "")
        return self._free(f"runs/{slug(str(args['base_model']))}", "")

    def _same_but_output(self, old: Step, args: dict[str, Any], output: str) -> bool:
        taken_elsewhere = any(step.args.get(output) == old.args.get(output) for step in self.done.values())
        return not taken_elsewhere and {k: v for k, v in old.args.items() if k != output} == {
            k: v for k, v in args.items() if k != output
        }

    def _is_taken(self, path: str) -> bool:
        return path in self.taken or path.removeprefix("./") in self.taken or self.on_disk(path)

    def _free(self, stem: str, suffix: str) -> str:
        number, candidate = 1, stem + suffix
        while self._is_taken(candidate):
            number += 1
            candidate = f"{stem}-{number}{suffix}"
        return candidate

    def _free_dataset(self, folder: str, split: str) -> str:
        """`data/`, or `data-2/` where the split or the held-out part holds other rows already."""
        stem, slash = folder.rstrip("/"), "/" if folder.endswith("/") else ""
        number, candidate = 1, stem
        while self._is_taken(f"{candidate}/{split}") or self._is_taken(f"{candidate}/heldout"):
            number += 1
            candidate = f"{stem}-{number}"
        return candidate + slash


def _gguf_stem(draft: Draft, args: dict[str, Any]) -> str:
    checkpoint = str(args["checkpoint_dir"])
    untuned = draft.feed is None and (find_base_model(checkpoint) is not None or is_hub_id(checkpoint))
    kind = "-lora" if str(args.get("quantization")).lower() == ADAPTER_TYPE else "" if untuned else "-finetuned"
    return slug(checkpoint) + kind


def _writes(tool: str, args: dict[str, Any]) -> list[str]:
    if tool == "prepare_dataset":
        folder = str(args["output_dir"]).rstrip("/")
        return [f"{folder}/{args['split']}", f"{folder}/heldout"]
    path = produced(tool, args)
    return [path] if path else []


def _model_name(key: str, name: str) -> str:
    """The catalogue's spelling of a base model; a hub id or an existing folder as it is.

    Raises:
        Ask: it is none of these, so nothing could be loaded.
    """
    entry = find_base_model(name)
    if entry is not None:
        return entry.name
    if "/" not in name and "\\" not in name and local_path(name) is None:
        raise Ask(unknown_model(name), "export_gguf.checkpoint_dir" if "checkpoint" in key else key)
    return name


def _catalogued(source: str) -> str:
    written = re.sub(r"[\s_-]", "", source.lower())
    return next((name for name in DATASETS if name.replace("_", "") == written), source)


def _changed_value(value: Any, change: dict[str, float]) -> Any:
    result = value * change["times"] if "times" in change else value + change["plus"]
    result = float(f"{result:.12g}")  # 2e-4 / 10 is 2e-05, not 2.0000000000000002e-05
    return int(result) if isinstance(value, int) and result.is_integer() else result


def _checked(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the Input model reads them: types translated, numbers typed.

    Raises:
        Ask: a value is out of its range, with the range.
    """
    args = {
        k: int(v) if isinstance(v, float) and v.is_integer() and f"{tool}.{k}" in NUMERIC else v
        for k, v in args.items()
    }
    try:
        model = TOOLS[tool].input.model_validate(args)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            name = str(detail["loc"][0]) if detail["loc"] else "arguments"
            key = f"{tool}.{name}"
            if detail["type"] == "value_error" or detail["type"].startswith("string"):
                problems.append(
                    (key, f"`{name}` cannot be {args[name]!r}: {detail['msg'].removeprefix('Value error, ')}")
                )
            else:
                problems.append((key, f"`{name}` cannot be {args[name]}; it takes {wanted_range(key)}"))
        text = "; ".join(dict.fromkeys(problem for _, problem in problems))
        raise Ask(text, problems[0][0], refuse=True, wrong=tuple(key for key, _ in problems)) from error
    values = {name: getattr(model, name) for name in args}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
