"""`tunesmith train-planner`: make the planner's own model again, or teach it what this user asked for."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["run_train_planner_command"]

_INTERRUPTED = 130


def run_train_planner_command(arguments: list[str]) -> int:
    """Train, measure, and put the adapter in place; returns the exit status."""
    from .planner_adapter import own_folder
    from .planner_training import ROWS, SEED

    parser = argparse.ArgumentParser(
        prog="tunesmith train-planner",
        description="Train the planner's small language model with Tunesmith's own tools: draw requests and the plans "
        "they mean, fine-tune SmolLM2-135M, export the adapter, and measure it on wordings it has never seen "
        "(tens of minutes on two cores). The same call goes on after an interruption.",
        epilog="exit status:\n  0 in place   1 a step failed, or the adapter in use is better   2 wrong arguments or a "
        "missing extra",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=ROWS, help=f"requests to draw (default {ROWS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"seed of the requests (default {SEED})")
    parser.add_argument("--output", type=Path, help="folder of the adapter (default: this user's own)")
    parser.add_argument(
        "--from-history",
        action="store_true",
        help="train on the requests that were kept as well (`tunesmith config planner.learn true`); the new adapter is "
        "used only if it is better than the one in use",
    )
    options = parser.parse_args(arguments)

    from .consoles import consoles
    from .planner_training import train_planner
    from .progress import ProgressDisplay

    talk, output = consoles()
    order = ["prepare_dataset", "finetune_unsloth", "export_gguf"]
    try:
        with ProgressDisplay(talk, output) as display:
            told = train_planner(
                options.output or own_folder(),
                rows=options.rows,
                seed=options.seed,
                history=options.from_history,
                on_event=lambda tool, event: display(order.index(tool), tool, event),
            )
    except KeyboardInterrupt:
        talk.print("interrupted; the same command goes on from here", highlight=False)
        return _INTERRUPTED
    output.print(_summary(told, options.output or own_folder()), markup=False, highlight=False, soft_wrap=True)
    return 0 if told["used"] else 1


def _summary(told: dict[str, Any], folder: Path) -> str:
    """What was made and what it is worth, a line each."""
    found, training = told["held_out"], told["training"]
    lines = [
        f"{told['rows']['lessons']} requests and {told['rows']['kept']} kept ones, "
        f"loss {training['first_loss']:.3f} -> {training['final_loss']:.3f}, {told['seconds']:.0f} s",
        f"exact on wordings never seen: {_of(found['exact'])}; asked back or refused: {_of(found['no plan to make'])}",
    ]
    if "before" in told:
        lines.append(f"the adapter in use before: {_of(told['before']['exact'])}")
    lines.append(f"{folder}: in place" if told["used"] else "the adapter in use is as good; it stays")
    return "\n".join(lines)


def _of(share: dict[str, int]) -> str:
    return f"{share['right']} of {share['of']}"
