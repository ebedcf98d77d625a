"""The slash commands of the chat: their names, what they show, and what they ask for in plain words."""

from typing import TYPE_CHECKING

from tunesmith.tools.base import BadRequest
from tunesmith.tools.catalogue import BASE_MODELS, find_base_model

from . import records
from .steering import EXAMPLES

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["COMMANDS", "meant_by", "show_help", "show_models", "split_command"]

COMMANDS = {
    "/plan": "the plan on offer or the last one; with a REQUEST, its plan",
    "/runs": "what was asked in this folder",
    "/show": "one run with its results and files; the newest, or [ID]",
    "/resume": "go on with an unfinished run; the newest, or [ID]",
    "/undo": "back to the plan before the last change",
    "/model": "the base models; with a NAME, the last plan with that model",
    "/help": "this list",
    "/quit": "leave; Ctrl-D does the same",
}

_HELP = """\
Say what to do in plain words, such as
  fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, export q4_k_m and evaluate it
A plan is shown first: `y` runs it, `n` drops it, and words such as `epochs=3` or `use q8_0 instead` change it.
"""
_KEYS = (
    ("Alt-Enter", "another line, as \\ at the end; a paste keeps its lines"),
    ("Tab", "completes commands, paths, models, types"),
    ("Up, Ctrl-R", "earlier requests"),
    ("Ctrl-C", "stops the step that is going on; its state is kept"),
)


def split_command(text: str) -> tuple[str, str] | None:
    """(command, the rest) of a line that begins with a slash; None for anything else, paths included.

    >>> split_command("/show 2026"), split_command("/data/rows.jsonl is my data"), split_command("exit")
    (('/show', '2026'), None, ('/quit', ''))

    Raises:
        BadRequest: there is no such command.
    """
    if text in ("exit", "quit", "/exit", "/q"):
        return "/quit", ""
    name, _, rest = text.partition(" ")
    if not name.startswith("/") or "/" in name[1:] or "." in name:
        return None
    if name not in COMMANDS:
        raise BadRequest(f"there is no `{name}`; commands are {', '.join(COMMANDS)}")
    return name, rest.strip()


def meant_by(command: str, rest: str) -> str:
    """The request in plain words that a command stands for.

    Raises:
        BadRequest: `/model` with a name that is no model's.
    """
    if command == "/undo":
        return "undo"
    entry = find_base_model(rest)
    if entry is None and "/" not in rest:
        names = ", ".join(BASE_MODELS)
        raise BadRequest(f"`{rest}` is no base model; names are {names}, a hub id org/name or a folder")
    return f"base_model={entry.name if entry else rest}"


def show_help(console: "Console") -> None:
    """Commands, keys, and what a running training takes."""
    from rich.table import Table

    console.print(_HELP, markup=False, highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, meaning in (*COMMANDS.items(), *_KEYS):
        table.add_row(name, meaning.replace("[", "\\["))
    console.print(table)
    console.print(f"While a run is going on: {EXAMPLES}", markup=False, highlight=False)


def show_models(console: "Console") -> None:
    """The catalogue, with the model of the last plan marked."""
    from rich.table import Table

    used = _last_model()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for entry in BASE_MODELS.values():
        mark = "last plan" if entry.name == used else ""
        table.add_row(entry.name, f"{entry.parameters / 1e6:,.0f} M", entry.hub_id, mark)
    console.print(table)
    console.print("A hub id such as org/name or a model folder works too: /model NAME", markup=False, highlight=False)


def _last_model() -> str | None:
    """The base model of the newest plan in this folder."""
    for record in reversed(records.load_all()):
        for step in record.steps:
            if "base_model" in step.args:
                return str(step.args["base_model"])
    return None
