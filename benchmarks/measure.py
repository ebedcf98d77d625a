"""What the benchmarks share: a process tree's time and memory, the machine's description, a table."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

__all__ = ["TUNESMITH", "Measured", "machine", "measure", "print_table", "tree_memory_bytes"]

TUNESMITH = [sys.executable, "-P", "-m", "tunesmith.agent.cli"]


@dataclass(frozen=True)
class Measured:
    """One process tree from start to end: `peak_bytes` is the largest sum of resident memory seen."""

    status: int
    seconds: float
    peak_bytes: int
    stdout: str
    stderr: str


def tree_memory_bytes(process: psutil.Process) -> int:
    """Memory of a process and all below it, pages that they share counted once (PSS) where the system tells."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            full = one.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        except (psutil.Error, OSError):
            continue
    return total


def measure(command: Sequence[str], *, cwd: Path, env: dict[str, str] | None = None, every: float = 0.5) -> Measured:
    """Run a command to its end and watch its whole process tree."""
    began = time.monotonic()
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not ended.wait(every):
            try:
                peak = max(peak, tree_memory_bytes(root))
            except psutil.Error:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    stdout, stderr = process.communicate()
    ended.set()
    watcher.join()
    return Measured(process.returncode, time.monotonic() - began, peak, stdout, stderr)


def machine() -> str:
    """This machine in one line."""
    model = "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gib = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def print_table(rows: Sequence[Sequence[Any]], header: Sequence[str], data: dict[str, Any]) -> None:
    """Print rows as a Markdown table, then everything as one JSON line."""
    print(f"\nmachine: {machine()}\ndate: {time.strftime('%Y-%m-%d', time.gmtime())}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print("\n" + json.dumps(data))
