"""Show a plan, its records and its results to a person: tables on a terminal, the same words in a pipe."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from .forecast import export_bytes, models_of
from .plan import Plan
from .records import Record

if TYPE_CHECKING:
    from tunesmith.tools.base import Result

__all__ = ["show_plan", "show_record", "show_records", "show_result"]

_STYLE = {"you": "bold", "last run": "cyan"}


def show_plan(plan: Plan, console: Console) -> None:
    """The steps with every value and where it came from: a line each for what was said, defaults together."""
    models = models_of(plan)
    for number, step in enumerate(plan.steps, 1):
        if step.reuse:
            console.print(f"{number}. {step.tool}  (done already, not run again)", style="dim", markup=False)
            continue
        console.print(f"{number}. {step.tool}", style="bold green", markup=False, end="")
        size = export_bytes(step, models)
        console.print(f"  (about {_size(size)})" if size else "", style="dim", markup=False)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(min_width=18)
        table.add_column(overflow="fold", min_width=36)
        table.add_column()
        defaults = []
        for name, value in step.args.items():
            origin = step.origin.get(name, "default")
            if origin == "default":
                defaults.append(f"{name} {_value(value)}")
            else:
                table.add_row(f"   {name}", escape(_value(value)), origin, style=_STYLE[origin])
        if table.row_count:
            console.print(table)
        if defaults:
            console.print(Padding(f"default: {', '.join(defaults)}", (0, 0, 0, 3)), style="dim", markup=False)
    if plan.changed:
        console.print("changed: " + "; ".join(plan.changed), style="bold yellow", markup=False)
    if plan.reply:
        console.print(plan.reply, markup=False)
    for problem in plan.problems:
        console.print(f"problem: {problem}", style="red", markup=False)


def _size(size: int) -> str:
    """
    >>> _size(105_454_016), _size(4_920_739_232)
    ('105 MB', '4.92 GB')
    """
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def show_result(result: "Result", console: Console) -> None:
    """What a finished step made: scores as a table, anything else in the tool's own words."""
    from tunesmith.tools.eval_report import TABLE_COLUMNS, EvalReport, table_rows

    if not isinstance(result, EvalReport):
        console.print(result.summary(), markup=False, highlight=False, soft_wrap=not console.is_terminal)
        return
    console.print(
        f"{result.gguf_file} on {result.n} items of {result.eval_set}", markup=False, soft_wrap=not console.is_terminal
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in TABLE_COLUMNS:
        table.add_column(title, no_wrap=True)
    for row in table_rows(result):
        table.add_row(*map(escape, row))
    console.print(table)
    for remark in filter(None, [result.base_remark, *result.remarks]):
        console.print(remark, markup=False, soft_wrap=not console.is_terminal)
    console.print(f"report: {result.report}", markup=False, soft_wrap=not console.is_terminal)


def show_records(records: list[Record], console: Console) -> None:
    """One line a request, newest last."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("run", "when", "state", "request"):
        table.add_column(title, overflow="fold" if title == "request" else "ellipsis", no_wrap=title != "request")
    for record in records:
        state = "dry run" if record.dry_run else record.state
        table.add_row(record.id, record.created, state, escape(record.request))
    console.print(table)


def show_record(record: Record, console: Console) -> None:
    """One request: its plan, what each step came to, where its files are."""
    console.print(f"{record.id}  {record.created}  {record.state}", style="bold", markup=False)
    console.print(record.request, markup=False)
    show_plan(record.plan(), console)
    from tunesmith.tools.registry import TOOLS

    for number, step in enumerate(record.steps, 1):
        seconds = f", {step.seconds:.0f} s" if step.seconds is not None else ""
        console.print(f"{number}. {step.tool}: {step.state}{seconds}", markup=False)
        for text in step.notes:
            console.print(f"   {text}", markup=False, soft_wrap=not console.is_terminal)
        if step.error:
            console.print(f"   {step.error}", style="red", markup=False, soft_wrap=not console.is_terminal)
        if step.result is not None and step.tool in TOOLS:
            show_result(TOOLS[step.tool].result.model_validate(step.result), console)
    if record.state == "done":
        from .estimate import took

        if line := took(record):
            console.print(line, style="dim", markup=False, soft_wrap=not console.is_terminal)
    console.print(f"record: {record.folder / 'record.json'}", markup=False, soft_wrap=not console.is_terminal)
