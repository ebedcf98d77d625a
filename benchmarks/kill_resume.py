"""Kill the main job at many moments, resume it, and see that nothing finished runs again.

Usage: python benchmarks/kill_resume.py [--moments 20] [--steps 40]

The main job, shortened to `max_steps`, runs once undisturbed. Then it runs again and again, each time in a new folder,
and is killed with SIGKILL at one of the moments spread over its length: every second time the whole process tree at
once, else only the process that the user started. `tunesmith resume` must end with status 0; a step that was done at
the kill must keep its start time and result; training must go on from a checkpoint where one was complete at the kill.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from measure import TUNESMITH, print_table

ROOT = Path(__file__).resolve().parents[1]
REQUEST = (
    "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, at most {steps} steps, "
    "export q4_k_m and evaluate it"
)


def start(folder: Path, request: str) -> "subprocess.Popen[bytes]":
    shutil.copytree(ROOT / "examples", folder / "examples")
    return subprocess.Popen(
        [*TUNESMITH, "-y", request],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "talk.txt").open("wb"),
    )


def record_of(folder: Path) -> dict[str, Any] | None:
    try:
        latest = json.loads((folder / "runs/records/latest.json").read_text())["id"]
        value: dict[str, Any] = json.loads((folder / "runs/records" / latest / "record.json").read_text())
        return value
    except (OSError, ValueError):
        return None


def complete_checkpoints(folder: Path) -> list[str]:
    found = (folder / "runs").glob("*/checkpoints/step-*")
    return sorted(path.name for path in found if path.is_dir() and not path.name.endswith(".partial"))


def kill(process: "subprocess.Popen[bytes]", whole_tree: bool) -> None:
    root = psutil.Process(process.pid)
    below = root.children(recursive=True)
    root.send_signal(signal.SIGKILL)
    if whole_tree:
        for one in below:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
    process.wait()


def trial(number: int, moment: float, request: str) -> dict[str, Any]:
    """Kill at `moment` seconds after the record was written, resume, and judge."""
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-kill-"))
    process = start(folder, request)
    while record_of(folder) is None and process.poll() is None:
        time.sleep(0.01)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        kill(process, whole_tree=number // 2 % 2 == 1)
    before, checkpoints = record_of(folder), complete_checkpoints(folder)
    resumed = subprocess.run([*TUNESMITH, "resume"], cwd=folder, capture_output=True, text=True, check=False)
    after = record_of(folder)
    assert before is not None and after is not None
    finished = before["state"] == "done"
    faults = []
    if not finished and (resumed.returncode != 0 or after["state"] != "done"):
        faults.append(f"resume ended with {resumed.returncode}: {resumed.stderr.strip()[-300:]}")
    for old, new in zip(before["steps"], after["steps"], strict=True):
        if old["state"] == "done" and (old["started"], old["result"]) != (new["started"], new["result"]):
            faults.append(f"{old['tool']} was done and ran again")
        trained_on = (
            old["tool"] == "finetune_unsloth" and old["state"] == "running" and new["started"] != old["started"]
        )
        if trained_on and checkpoints and new["result"] and new["result"]["resumed_from_step"] is None:
            faults.append(f"training began at zero although {checkpoints[-1]} was complete")
    at = next((step["tool"] for step in before["steps"] if step["state"] == "running"), before["state"])
    outcome = {
        "moment": round(moment, 1),
        "killed": not finished,
        "at": at,
        "checkpoints": checkpoints,
        "faults": faults,
    }
    print(f"{number + 1}: {outcome}", file=sys.stderr, flush=True)
    if not faults:
        shutil.rmtree(folder)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40, help="length of the training")
    options = parser.parse_args()
    request = REQUEST.format(steps=options.steps)
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-kill-"))
    began = time.monotonic()
    if start(folder, request).wait() != 0:
        print((folder / "talk.txt").read_text(), file=sys.stderr)
        return 1
    length = time.monotonic() - began
    shutil.rmtree(folder)
    print(f"undisturbed: {length:.0f} s", file=sys.stderr, flush=True)
    # Every second moment first, so that a run that is cut short has seen all of the job.
    order = [*range(0, options.moments, 2), *range(1, options.moments, 2)]
    outcomes = [trial(number, length * (number + 0.5) / options.moments, request) for number in order]
    # A job that was faster than the undisturbed one may be done before its moment comes; that shows nothing.
    outcomes = [outcome for outcome in outcomes if outcome["killed"]]
    good = sum(not outcome["faults"] for outcome in outcomes)
    places: dict[str, int] = {}
    for outcome in outcomes:
        places[outcome["at"]] = places.get(outcome["at"], 0) + 1
    print_table(
        [
            ["finished after the resume, nothing done twice", f"{good} of {len(outcomes)}"],
            ["killed in", ", ".join(f"{tool} {count}" for tool, count in places.items())],
            ["undisturbed", f"{length:.0f} s"],
        ],
        ["figure", "measured"],
        {"good": good, "of": len(outcomes), "seconds": round(length, 1), "outcomes": outcomes},
    )
    return 0 if good == len(outcomes) else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
