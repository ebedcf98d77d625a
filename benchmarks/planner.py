"""How often the planner answers exactly, how fast, and in how much memory: by rules, by the model, by both.

Usage: python benchmarks/planner.py --requests FILE.jsonl [...] [--adapter PATH ...] [--show]

Each line of FILE has `id`, `turns` (texts), `steps` (the tools that must run, in order, or {"any": [...]}) and
`args` ("tool.parameter": value that was asked for). An answer is exact when the tools of its steps that are not
reused are those, every asked value is there, and a request without steps gets a reply. `invented` counts answers with
a name or a number of the user's that is not in his words.

PATH is a planner's folder (adapter.gguf and adapter.json) or a LoRA adapter in GGUF; several, such as those of a
learning curve, get a line each. Every line of the table is a process of its own. `per turn` is the time of one message
in that process, once it is warm: the median and the 95th percentile. `asked` is how often the model was.
"""

import argparse
import json
import math
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import TUNESMITH, measure, print_table
from tunesmith.agent.embedded_planner import EmbeddedPlanner
from tunesmith.agent.frame_reader import FrameReader, ModelPlanner, Reading
from tunesmith.agent.number_words import number_spans, read_number
from tunesmith.agent.plan import History, Plan, Planner, Ran
from tunesmith.agent.planner import RulesPlanner
from tunesmith.agent.planner_adapter import ADAPTER_FILE
from tunesmith.agent.translation import in_english
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.catalogue import BASE_MODELS

ENGLISH = "Fine-tune smollm2-135m on tickets.jsonl for 2 epochs and export q4_k_m"
GERMAN = "Trainiere smollm2-135m auf tickets.jsonl für zwei Epochen und exportiere als q4_k_m"
ITALIAN = "Allena smollm2-135m usando tickets.jsonl per due epoche ed esportalo in q4_k_m"  # no glossary knows it


def same(wanted: Any, got: Any) -> bool:
    """Equal as a user would say: numbers to six digits, paths without `./` and a closing slash, case aside."""
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, int | float) and isinstance(got, int | float):
        return math.isclose(wanted, got, rel_tol=1e-6)
    if isinstance(wanted, str) and isinstance(got, str):
        return wanted.removeprefix("./").rstrip("/").casefold() == got.removeprefix("./").rstrip("/").casefold()
    return bool(wanted == got)


def miss(wanted: dict[str, Any], got: dict[str, Any]) -> str | None:
    """Why an answer is not exact, or None."""
    steps = [step for step in got["steps"] if not step["reuse"]]
    tools = [step["tool"] for step in steps]
    allowed = wanted["steps"]["any"] if isinstance(wanted["steps"], dict) else [wanted["steps"]]
    if tools not in allowed:
        return f"steps {tools}, expected {allowed[0]}; reply {got['reply']!r}"
    if not tools and not (got["reply"] or "").strip():
        return "neither steps nor a reply"
    for name, value in wanted["args"].items():
        tool, parameter = name.split(".")
        seen = [step["args"].get(parameter) for step in steps if step["tool"] == tool]
        if not any(same(value, one) for one in seen):
            return f"{name} is {seen}, expected {value!r}"
    return None


def kind_of(wanted: dict[str, Any]) -> str:
    """What kind of request a line is: what it says itself, or what its turns and steps show."""
    if "kind" in wanted:
        return str(wanted["kind"])
    if not wanted["steps"]:
        return "asked back or refused"
    return "follow-up" if len(wanted["turns"]) > 1 else "new"


def invented(plan: Plan, turns: list[str]) -> list[str]:
    """Values that a plan has from the user and that do not stand in his words, in any spelling known here."""
    said = " ".join([*turns, *map(in_english, turns)]).casefold()
    numbers = {read_number(span) for span in number_spans(said)} | {
        float(n) for n in re.findall(r"\d+(?:\.\d+)?", said)
    }
    found = []
    for step in plan.steps:
        for name, value in step.args.items():
            if step.origin[name] != "you" or isinstance(value, bool | list):
                continue
            if isinstance(value, int | float):
                known = {n * f for n in numbers for f in (1, 1000, 1024, 0.01, 2, 0.5, 3, 1 / 3, 10, 0.1)} | {0, 1}
                given = any(math.isclose(value, n, rel_tol=1e-6) for n in known) or len(turns) > 1
            else:
                named = value not in BASE_MODELS and re.search(r"[/.]\w", str(value))
                given = not named or str(value).casefold() in said
            found += [] if given else [f"{step.tool}.{name}={value!r}"]
    return found


class Counting:
    """A reader that counts how often it is asked."""

    def __init__(self, reader: FrameReader) -> None:
        self.reader, self.asked, self.sure = reader, 0, reader.sure

    def read(self, text: str, history: History) -> Reading | None:
        self.asked += 1
        return self.reader.read(text, history)


def answers(planner: Planner, lines: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Plan, list[float]]]:
    """For each line the plan for its last turn, and the seconds of each turn."""
    for line in lines:
        history, plan, seconds = History(), Plan(""), []
        for turn in line["turns"]:
            began = time.perf_counter()
            plan = planner.plan(turn, history)
            seconds.append(time.perf_counter() - began)
            history = History((*history.ran, Ran(plan, finished=len(plan.steps))))
        yield line, plan, seconds


def run_one(variant: str, adapter: Path | None, lines: list[dict[str, Any]], show: bool) -> dict[str, Any]:
    """One planner over all requests, in this process."""
    reader = Counting(FrameReader(bundled_gguf(), adapter)) if variant != "rules" else None
    planner: Planner = RulesPlanner(look_at_disk=False)
    if variant == "model" and reader is not None:
        planner = ModelPlanner(reader, look_at_disk=False)
    elif variant == "both":
        planner = EmbeddedPlanner(look_at_disk=False, reader=lambda: reader)
    list(answers(planner, lines[:3]))  # warm
    if reader is not None:
        reader.asked = 0
    right, total, made_up, seconds = Counter[str](), Counter[str](), 0, list[float]()
    for line, plan, took in answers(planner, lines):
        seconds += took
        problem = miss(line, plan.to_json())
        inventions = invented(plan, line["turns"])
        made_up += bool(inventions)
        total[kind_of(line)] += 1
        right[kind_of(line)] += problem is None
        if show and (problem or inventions):
            print(f"{variant} {line['id']} {line['turns']}: {problem or inventions}", file=sys.stderr)
    turns = len(seconds)
    return {
        "exact": {kind: [right[kind], total[kind]] for kind in total},
        "invented": made_up,
        "median_s": statistics.median(seconds),
        "p95_s": sorted(seconds)[min(turns - 1, math.ceil(0.95 * turns) - 1)],
        "asked": [reader.asked if reader else 0, turns],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def whole_process(text: str, planner: str) -> str:
    """Seconds and memory of `tunesmith plan` as a process, the best of three."""
    with tempfile.TemporaryDirectory() as folder:
        done = [
            measure(
                [*TUNESMITH, "plan", text, "--json"], cwd=Path(folder), env={"TUNESMITH_PLANNER": planner}, every=0.02
            )
            for _ in range(3)
        ]
    best = min(done, key=lambda one: one.seconds)
    return f"{best.seconds:.2f} s, {max(one.peak_bytes for one in done) / 1e6:.0f} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=Path, nargs="+", required=True)
    parser.add_argument("--adapter", type=Path, nargs="*", default=[])
    parser.add_argument("--show", action="store_true", help="print every miss on stderr")
    parser.add_argument("--one", choices=["rules", "model", "both"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = [line for path in options.requests for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.loads(line) for line in texts if line.strip()]
    adapters = [path / ADAPTER_FILE if path.is_dir() else path for path in options.adapter]
    if options.one:
        print(json.dumps(run_one(options.one, adapters[0] if adapters else None, lines, options.show)))
        return 0
    runs: list[tuple[str, list[str]]] = [("rules alone", ["--one", "rules"])]
    for path, adapter in zip(options.adapter, adapters, strict=True):
        for variant, title in (("model", "model alone"), ("both", "both")):
            runs.append((f"{title}, {path.name}", ["--one", variant, "--adapter", str(adapter.absolute())]))
    kinds = list(dict.fromkeys(map(kind_of, lines)))
    rows, data = [], {}
    for title, arguments in runs:
        files = ["--requests", *(str(path.absolute()) for path in options.requests)]
        shown = ["--show"] if options.show else []
        done = measure([sys.executable, __file__, *files, *arguments, *shown], cwd=Path.cwd())
        print(done.stderr, end="", file=sys.stderr)
        if done.status:
            return done.status
        data[title] = one = json.loads(done.stdout.splitlines()[-1])
        right, total = (sum(pair[n] for pair in one["exact"].values()) for n in (0, 1))
        rows.append(
            [
                title,
                f"{right} of {total} ({100 * right / total:.1f} %)",
                *("{} of {}".format(*one["exact"][kind]) for kind in kinds),
                one["invented"],
                f"{1000 * one['median_s']:.0f} / {1000 * one['p95_s']:.0f} ms",
                "{} of {}".format(*one["asked"]),
                f"{one['peak_mb']:.0f} MB",
            ]
        )
    print_table(rows, ["planner", "exact", *kinds, "invented", "per turn", "asked", "memory"], data)
    print(f"\nwhole process, plain English, rules: {whole_process(ENGLISH, 'rules')}")
    print(f"whole process, German, rules and glossary: {whole_process(GERMAN, 'rules')}")
    for path in options.adapter:
        if path.is_dir():
            print(f"whole process, model asked, {path.name}: {whole_process(ITALIAN, os.fspath(path.absolute()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
