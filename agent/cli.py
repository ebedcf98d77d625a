"""The command line. Results go to stdout, talk and progress to stderr.

Nothing heavy is imported before a command needs it: `--help` starts with argparse alone.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

DONE, FAILED, REFUSED, DECLINED = 0, 1, 2, 3

_COMMANDS = ("plan", "tools", "verify", "runs", "show", "resume", "doctor", "mcp", "crew", "config", "train-planner")

_HELP = """\
Turn one sentence into a fine-tuned, exported and measured model.

  tunesmith "REQUEST"            plan, show, ask, run     (minutes to hours; -y skips the question)
  tunesmith                      chat; --continue takes the last one up again
  tunesmith plan "REQUEST"       print the plan, run nothing
  tunesmith tools [NAME ...]     the contract's tools; with NAME and arguments, run one
  tunesmith verify RUN|GGUF      prove that a file is the model that was trained
  tunesmith runs                 what was asked in this folder
  tunesmith show ID              one run: plan, results, files
  tunesmith resume [ID]          go on with an unfinished run
  tunesmith doctor               what this machine can do, what is missing, how to get it
  tunesmith mcp [--http]         serve other agents over MCP
  tunesmith crew "REQUEST"       the same work as a CrewAI crew
  tunesmith config [NAME VALUE]  settings that hold for all folders
  tunesmith train-planner        train the planner's own model again (tens of minutes)
"""

_EXAMPLES = """\
examples:
  tunesmith -y "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, export q4_k_m and evaluate it"
  tunesmith "Adjust to 4 epochs and lower LR to 1e-5"
  tunesmith plan --json "gemma3 270m, alpaca_cleaned, 2 epochs, q4_k_m, then mmlu"
  tunesmith tools export_gguf smollm2-135m q8_0

exit status:
  0 done   1 a step failed   2 a question, a refusal, wrong arguments or a missing extra   3 not confirmed
"""


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of a plain request."""
    if command is None:
        parser = argparse.ArgumentParser(
            prog="tunesmith", description=_HELP, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("request", nargs="*", help="what to do, in plain words; none opens a chat")
        parser.add_argument("-y", "--yes", action="store_true", help="run the plan without asking")
        parser.add_argument("--dry-run", action="store_true", help="show and record the plan, run nothing")
        parser.add_argument(
            "--continue", dest="recall", action="store_true", help="open the chat where the last one here ended"
        )
        _add_no_probe(parser)
        parser.add_argument("--version", action="store_true", help="print the version")
        return parser
    if command == "plan":
        parser = argparse.ArgumentParser(
            prog="tunesmith plan",
            description="Print the plan for a request (under a second). Runs and records nothing.",
        )
        parser.add_argument("request", nargs="*", help="what to do, in plain words")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--requests",
            metavar="FILE",
            help='plan many: each line of this JSONL file has "id" and "turns"; prints one JSON object a line',
        )
        return parser
    if command == "runs":
        return argparse.ArgumentParser(prog="tunesmith runs", description="List what was asked in this folder.")
    if command == "show":
        parser = argparse.ArgumentParser(prog="tunesmith show", description="Show one run: plan, results, files.")
        parser.add_argument("id", nargs="?", help="the beginning of a run's id; the newest by default")
        parser.add_argument("--json", action="store_true", help="print the record as JSON")
        return parser
    if command == "resume":
        parser = argparse.ArgumentParser(
            prog="tunesmith resume",
            description="Go on with an unfinished run. Finished steps are not run again; training goes on from its "
            "newest valid checkpoint.",
        )
        parser.add_argument("id", nargs="?", help="the beginning of a run's id; the newest unfinished by default")
        _add_no_probe(parser)
        return parser
    return argparse.ArgumentParser(
        prog="tunesmith doctor", description="Print what this machine can do, what is missing and how to get it."
    )


def _add_no_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-probe",
        dest="probe",
        action="store_false",
        help="do not tell after a training's first two steps, its longest, what all of it will take, and do not ask "
        "again where that is more than twice the estimate or does not fit into memory",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    # No plugin of pydantic is used here, and looking for one through all installed packages takes its time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments and arguments[0] in _COMMANDS else None
    if command == "tools":
        from .tool_command import run_tool_command

        return guarded(lambda: run_tool_command(arguments[1:]))
    if command == "verify":
        from .verify_command import run_verify_command

        return guarded(lambda: run_verify_command(arguments[1:]))
    if command == "mcp":
        from .mcp_command import run_mcp_command

        return guarded(lambda: run_mcp_command(arguments[1:]))
    if command == "config":
        from .config_command import run_config_command

        return guarded(lambda: run_config_command(arguments[1:]))
    if command == "train-planner":
        from .train_planner_command import run_train_planner_command

        return guarded(lambda: run_train_planner_command(arguments[1:]))
    if command == "crew":
        from .crew_command import run_crew_command

        return guarded(lambda: run_crew_command(arguments[1:]))
    options = _parser(command).parse_args(arguments[1:] if command else arguments)
    if command is None:
        if options.version:
            import importlib.metadata

            print(f"tunesmith {importlib.metadata.version('tunesmith')}")
            return DONE
        request = " ".join(options.request).strip()
        if not options.request:
            from .chat import chat

            return guarded(lambda: chat(assume_yes=options.yes, recall=options.recall, probe=options.probe))
        return guarded(lambda: _request(request, options.yes, options.dry_run, probe=options.probe))
    if command == "plan":
        return guarded(lambda: _plan(" ".join(options.request), options.json, options.requests))
    if command == "runs":
        return guarded(_runs)
    if command == "show":
        return guarded(lambda: _show(options.id, options.json))
    if command == "resume":
        return guarded(lambda: _resume(options.id, probe=options.probe))
    from .doctor import doctor

    return guarded(doctor)


def guarded(work: "object") -> int:
    """Run a command; turn what went wrong into one sentence on stderr and an exit status."""
    from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed

    from .contract import ContractError

    assert callable(work)
    try:
        return int(work())
    except (BadRequest, MissingExtra, ContractError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except ToolFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\ninterrupted; the state is kept\nhint: tunesmith resume", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone; nothing is left to tell
        return DONE


def _plan(request: str, as_json: bool, requests_file: str | None) -> int:
    from .contract import load

    load()
    if requests_file is not None:
        from tunesmith.tools.base import BadRequest

        from .many_requests import answer_requests

        if request:
            raise BadRequest("`--requests` takes its requests from the file; leave the text away")
        try:
            lines = Path(requests_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"`{requests_file}` can't be read: {error}") from error
        for answer in answer_requests(lines):
            print(json.dumps(answer, ensure_ascii=False))
        return DONE
    from .session import Session

    plan = Session().ask(request)
    if as_json:
        print(json.dumps(plan.to_json(), ensure_ascii=False))
    else:
        from .consoles import consoles
        from .estimate import estimate
        from .preview import show_plan

        talk, output = consoles()
        show_plan(plan, output)
        if plan.steps and not plan.problems:
            talk.print(estimate(plan).told(plan), style="dim", markup=False, soft_wrap=True)
    return DONE


def _request(request: str, assume_yes: bool, dry_run: bool, *, probe: bool) -> int:
    from .ask_and_run import AtTerminal, answer
    from .consoles import consoles
    from .contract import load
    from .session import Session

    load()
    from .live_run import steer

    if (told := steer(request)) is not None:
        consoles()[0].print(told, markup=False, soft_wrap=True)
        return DONE
    session = Session(probe=probe, confirm=AtTerminal.unless(assume_yes))
    dry_run |= bool(re.search(r"\bdry[- ]run\b", request, re.IGNORECASE))
    return answer(session, session.ask(request), assume_yes=assume_yes, dry_run=dry_run)


def _runs() -> int:
    from .consoles import consoles
    from .preview import show_records
    from .records import load_all

    found = load_all()
    if not found:
        print("nothing has been asked in this folder yet", file=sys.stderr)
        return DONE
    show_records(found, consoles()[1])
    return DONE


def _show(record_id: str | None, as_json: bool) -> int:
    from .consoles import consoles
    from .preview import show_record
    from .records import find

    record = find(record_id)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        show_record(record, consoles()[1])
    return DONE


def _resume(record_id: str | None, *, probe: bool) -> int:
    from .ask_and_run import AtTerminal, run_recorded
    from .records import find
    from .session import Session

    session = Session(probe=probe, confirm=AtTerminal.unless(False))
    return run_recorded(session, find(record_id, unfinished=record_id is None))


if __name__ == "__main__":
    sys.exit(main())
