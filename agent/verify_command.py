"""`tunesmith verify`: prove that a run or a GGUF file is the model that was trained, and show what was found."""

import argparse
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from tunesmith.tools.process import run_tool
from tunesmith.tools.registry import VERIFY

if TYPE_CHECKING:
    from rich.console import Console
    from tunesmith.tools.fidelity_report import Fidelity, Link

__all__ = ["run_verify_command", "show_fidelity"]

_STYLES = {"sound": "green", "same": "green", "broken": "bold red", "different": "bold red", "not checked": "yellow"}

_EPILOG = """\
examples:
  tunesmith verify runs/smollm2-135m
  tunesmith verify models/smollm2-135m-finetuned.gguf

exit status:
  0 sound   1 a link is broken or a prompt differs   2 wrong arguments or a missing extra
"""


def run_verify_command(arguments: list[str]) -> int:
    """Check what the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tunesmith verify",
        description="Compare base, adapter, merged model, f16 and quantised GGUF link by link, and the prompts that "
        "training, transformers, llama.cpp and Ollama make (some ten seconds for a small model). Writes verify.json.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="RUN|GGUF", help="a run folder, or a .gguf file that export_gguf wrote")
    parser.add_argument("--checkpoint", metavar="DIR", help="what the GGUF was exported from, where no JSON tells")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    request = {"target": options.target}
    if options.checkpoint is not None:
        request["checkpoint"] = options.checkpoint

    from tunesmith.tools.fidelity_report import Fidelity

    from .consoles import consoles
    from .progress import ProgressDisplay

    talk, output = consoles()
    with ProgressDisplay(talk, output) as display:
        found = run_tool(VERIFY, request, on_event=lambda event: display(0, VERIFY, event))
    assert isinstance(found, Fidelity)
    if options.json:
        print(found.model_dump_json(indent=2))
    else:
        show_fidelity(found, output)
    return 0 if found.sound else 1


def show_fidelity(found: "Fidelity", console: "Console") -> None:
    """The links and the prompts as tables, and below them in words what is broken or could not be checked."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("link", "verdict", "mean KL", "max KL", "same top word"):
        table.add_column(title, no_wrap=True)
    for link in found.links:
        table.add_row(link.name, _verdict(link.verdict), *_figures(link))
    console.print(table)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("prompt", "verdict", "compared"):
        table.add_column(title, no_wrap=True)
    for prompt in found.prompts:
        table.add_row(prompt.conversation, _verdict(prompt.verdict), escape(" = ".join(prompt.sides)))
    console.print(table)
    lines = [f"{link.name}: {link.reason}" for link in found.links if link.reason]
    lines += [f"{prompt.conversation}: {prompt.reason}" for prompt in found.prompts if prompt.reason]
    for line in [*lines, *found.remarks]:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)
    state = "sound" if found.sound else "broken"
    console.print(
        f"{found.target}: {state} ({found.positions} positions, KL in nats, {found.seconds:.0f} s)",
        style="bold",
        markup=False,
        soft_wrap=not console.is_terminal,
    )


def _verdict(verdict: str) -> str:
    return f"[{_STYLES[verdict]}]{verdict}[/]"


def _figures(link: "Link") -> tuple[str, str, str]:
    if link.mean_kl is None or link.max_kl is None or link.agreement is None:
        return "", "", ""
    return f"{link.mean_kl:.2g}", f"{link.max_kl:.2g}", f"{link.agreement:.1%}"
