"""How long the quick commands take as whole processes.

Usage: python benchmarks/startup.py [--repeat 15]

Targets: `tunesmith --help` at most 0.15 s, `tunesmith plan "..."` at most 0.4 s.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import print_table

COMMANDS = {
    "tunesmith --help": (["--help"], 0.15),
    'tunesmith plan "..."': (
        ["plan", "Fine-tune Gemma3:270M on `alpaca_cleaned` for 2 epochs and export q4_k_m."],
        0.4,
    ),
    'tunesmith plan --json "..."': (
        ["plan", "--json", "Fine-tune Gemma3:270M on `alpaca_cleaned` for 2 epochs and export q4_k_m."],
        0.4,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15, help="runs of each command; two more warm it up")
    options = parser.parse_args()
    program = Path(sys.executable).parent / "tunesmith"
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (arguments, target) in COMMANDS.items():
            seconds = []
            for _ in range(options.repeat + 2):
                began = time.perf_counter()
                subprocess.run([program, *arguments], cwd=folder, stdout=subprocess.DEVNULL, check=True)
                seconds.append(time.perf_counter() - began)
            median, worst = statistics.median(seconds[2:]), max(seconds[2:])
            rows.append([name, f"{median:.3f} s", f"{worst:.3f} s", f"{target} s"])
            figures[name] = {"median": round(median, 4), "worst": round(worst, 4), "target": target}
    print_table(rows, ["command", "median", "worst", "target"], figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
