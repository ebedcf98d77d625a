"""How often the planner answers exactly, and how fast.

Usage: python benchmarks/planner.py --requests FILE.jsonl [--show]

Each line of FILE has `id`, `turns` (texts), `steps` (the tools that must run, in order, or {"any": [...]}) and
`args` ("tool.parameter": value that was asked for). An answer is exact when the tools of its steps that are not
reused are those, every asked value is there, and a request without steps gets a reply. Latency is per
request, in one warm process.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from measure import print_table
from tunesmith.agent.many_requests import answer_requests


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
        return f"steps {tools}, expected {allowed[0]}"
    if not tools and not (got["reply"] or "").strip():
        return "neither steps nor a reply"
    for name, value in wanted["args"].items():
        tool, parameter = name.split(".")
        seen = [step["args"].get(parameter) for step in steps if step["tool"] == tool]
        if not any(same(value, one) for one in seen):
            return f"{name} is {seen}, expected {value!r}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--show", action="store_true", help="print every miss")
    options = parser.parse_args()
    lines = [line for line in options.requests.read_text(encoding="utf-8").splitlines() if line.strip()]
    list(answer_requests(lines[:5]))  # warm
    exact, milliseconds = 0, []
    for line in lines:
        wanted = json.loads(line)
        began = time.perf_counter()
        (got,) = answer_requests([line])
        milliseconds.append(1000 * (time.perf_counter() - began) / len(wanted["turns"]))
        problem = miss(wanted, got)
        exact += problem is None
        if problem and options.show:
            print(f"{wanted['id']} {wanted['turns']}: {problem}")
    median, worst = statistics.median(milliseconds), max(milliseconds)
    print_table(
        [
            ["exact", f"{exact} of {len(lines)} ({100 * exact / len(lines):.1f} %)"],
            ["per request, warm", f"median {median:.1f} ms, worst {worst:.1f} ms"],
        ],
        ["figure", "measured"],
        {"exact": exact, "of": len(lines), "median_ms": round(median, 2), "worst_ms": round(worst, 2)},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
