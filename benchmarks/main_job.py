"""The README's main job, from an empty cache: seconds, memory, and what the model learned.

Usage: python benchmarks/main_job.py [--keep DIR]

Runs the request in a new folder with an empty cache, so that the first de-quantisation of the base is included;
installation is not. Targets: at most 5 minutes and 4 GB; held-out rows exact: base at most 20 %, tuned at least 85 %.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from measure import TUNESMITH, measure, print_table

ROOT = Path(__file__).resolve().parents[1]
REQUEST = "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, export q4_k_m and evaluate it"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="run in this new folder and leave it there")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="tunesmith-main-job-"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "examples", folder / "examples")
    done = measure([*TUNESMITH, "-y", REQUEST], cwd=folder, env={"TUNESMITH_CACHE": str(folder / "cache")})
    print(done.stdout)
    if done.status != 0:
        print(done.stderr, file=sys.stderr)
        return 1
    latest = json.loads((folder / "runs/records/latest.json").read_text())["id"]
    record = json.loads((folder / "runs/records" / latest / "record.json").read_text())
    report = json.loads((folder / "runs/records" / latest / "eval-heldout.json").read_text())
    base, tuned = report["base"]["exact_match"]["value"], report["tuned"]["exact_match"]["value"]
    figures = {
        "seconds": round(done.seconds, 1),
        "peak_gib": round(done.peak_bytes / 2**30, 2),
        "step_seconds": {step["tool"]: round(step["seconds"], 1) for step in record["steps"]},
        "heldout_rows": report["n"],
        "base_exact": base,
        "tuned_exact": tuned,
    }
    steps = ", ".join(f"{tool} {seconds} s" for tool, seconds in figures["step_seconds"].items())
    print_table(
        [
            ["wall time", f"{done.seconds:.0f} s ({steps})", "at most 300 s"],
            ["peak memory, all processes", f"{done.peak_bytes / 1e9:.2f} GB", "at most 4 GB"],
            [f"base, {report['n']} held-out rows exact", f"{100 * base:.0f} %", "at most 20 %"],
            [f"tuned, {report['n']} held-out rows exact", f"{100 * tuned:.0f} %", "at least 85 %"],
        ],
        ["figure", "measured", "target"],
        figures,
    )
    if options.keep is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
