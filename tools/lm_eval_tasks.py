"""Find and load lm-eval tasks, by name or from a folder of YAML files, with the data that they need."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest, ToolFailed, note, require_extra
from .hub import hub_silence
from .lm_eval_data import LocalDatasets

__all__ = ["LoadedTasks", "load_tasks"]


@dataclass
class LoadedTasks:
    """Tasks ready to run: lm-eval's own objects by name, and how many items each has."""

    loaded: Any
    sizes: dict[str, int]

    def count(self, limit: int | None) -> int:
        """Items to score: the first `limit` of each task."""
        return sum(size if limit is None else min(size, limit) for size in self.sizes.values())


def load_tasks(eval_set: str, folder: Path | None, data_dir: Path | None = None) -> LoadedTasks:
    """Load one task (or group, or tag) by name, or every task of a folder, with its data.

    Args:
        data_dir: local copies of the tasks' datasets; the hub is not asked then.

    Raises:
        BadRequest: no such task, a folder without tasks, a task that runs code which the model writes, or data that
            is not in `data_dir`.
        MissingExtra: lm-eval is not installed.
        ToolFailed: a task's data can't be reached, or a task does not load.
    """
    require_extra("eval", "lm_eval")
    reachable = data_dir is None and hub_silence() is None
    if not reachable:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported; else it asks again and again
    if folder is None:
        manager, names = _by_name(eval_set)
    else:
        manager, names = _of_folder(folder)
    data = LocalDatasets(data_dir)
    try:
        with data.in_use():
            loaded = manager.load(names)
            sizes = {name: len(task.eval_docs) for name, task in loaded["tasks"].items()}
    except BadRequest as error:
        raise BadRequest(f"`{eval_set}`: {error}") from error
    except Exception as error:  # a task runs functions and templates of its own
        if data.missing:
            raise _incomplete(eval_set, data) from error
        if data.asked and data_dir is None and (isinstance(error, ConnectionError) or not reachable):
            raise ToolFailed(_out_of_reach(eval_set, data, error)) from error
        raise ToolFailed(f"the tasks of `{eval_set}` can't be loaded: {type(error).__name__}: {error}") from error
    tasks = loaded["tasks"].values()
    unsafe = [name for name, task in loaded["tasks"].items() if getattr(task, "UNSAFE_CODE", False)]
    if unsafe:
        raise BadRequest(
            f"`{unsafe[0]}` runs code that the model writes, which is never done here; choose another task"
        )
    for task in tasks:
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
    if data.missing and any(task.get_config("num_fewshot") and not task.sampler.df for task in tasks):
        raise _incomplete(eval_set, data)
    return LoadedTasks(loaded, sizes)


def _incomplete(eval_set: str, data: LocalDatasets) -> BadRequest:
    return BadRequest(f"`{eval_set}` needs {', '.join(data.missing)}; put the rows there")


def _out_of_reach(eval_set: str, data: LocalDatasets, error: Exception) -> str:
    path, name = data.asked[-1]
    return (
        f"the data of `{eval_set}`, `{path}`, can't be loaded without the hub ({error}); without a network pass "
        f"`data_dir=DIR` with a copy in `{data.places(path, name)[0]}`, one file for each split, such as test.jsonl "
        "(or .parquet, .csv); `heldout`, a .jsonl file of items and a folder of YAML tasks with local data work too"
    )


def _by_name(name: str) -> tuple[Any, list[str]]:
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    # A task often lies in a folder of its own name; to read all 14,000 of them takes seconds.
    own = Path(lm_eval.tasks.__file__).parent / name
    if own.is_dir() and own.parent.name == "tasks":
        manager = TaskManager(include_path=str(own), include_defaults=False)
        if name in manager.all_subtasks:
            return manager, [name]
    manager = TaskManager()
    if name not in manager.all_tasks:
        close = difflib.get_close_matches(name.lower(), manager.all_tasks, n=3)
        hint = f"; did you mean {', '.join(f'`{match}`' for match in close)}" if close else ""
        raise BadRequest(
            f"`{name}` is not an evaluation set{hint}; use heldout, an lm-eval task, a folder of YAML tasks or a "
            ".jsonl file"
        )
    return manager, [name]


def _of_folder(folder: Path) -> tuple[Any, list[str]]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    names = manager.all_subtasks
    if not names:
        raise BadRequest(f"`{folder}` holds no lm-eval task: no .yaml file in it that can be read has a `task` key")
    if any(folder.rglob("*.py")):
        note(f"the Python files of `{folder}` run as part of its tasks")
    return manager, list(names)
