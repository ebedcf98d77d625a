"""Wall time and peak memory of exporting a model to a quantised GGUF, beside llama.cpp's own two programs.

Ours is one process from a model folder to the quantised file; llama.cpp's are `convert_hf_to_gguf.py` (to f16) and
`llama-quantize` after it, one after the other: their times are added, of their peaks the larger one counts. Every
process is measured whole, from its start to its end, with all its children. The checks that `export_gguf` makes after
writing (load, tokens, Modelfile) have no counterpart there; they are measured apart, for SmolLM2.

Models: SmolLM2-135M, and random weights in Gemma 3 270M's real shape with 262,144 words.

    python benchmarks/export.py --llama-cpp DIR --llama-quantize FILE [--type q4_k_m] [--repeat 3] [--json FILE]

`--llama-cpp` is llama.cpp's source folder, `--llama-quantize` its program; build both from the llama.cpp inside the
source package llama-cpp-python 0.3.36. Targets: at most half the time and half the memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import Measured, measure, print_table
from tunesmith.tools.base_models import fetch_base_model

HERE = Path(__file__).resolve().parent
TARGET = 0.5
SIDES = {"ours": "ours", "llama.cpp": "llama.cpp", "checked": "ours, with all checks"}
EVERY = 0.03  # seconds between two looks at the memory

# What `export_gguf` does before its checks.
WRITE = """
import sys
from pathlib import Path
from tunesmith.tools.model_source import find_model
from tunesmith.tools.write_gguf import write_gguf
source = find_model(sys.argv[1])
write_gguf(source, sys.argv[2], Path(sys.argv[3]) / source.name, Path(sys.argv[4]))
"""
EXPORT = """
import sys
from tunesmith.tools.export_gguf import ExportGgufInput, export_gguf
export_gguf(ExportGgufInput(checkpoint_dir=sys.argv[1], quantization=sys.argv[2], output_file=sys.argv[4]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True, help="source folder with convert_hf_to_gguf.py")
    parser.add_argument("--llama-quantize", type=Path, required=True, help="the program")
    parser.add_argument("--type", default="q4_k_m", help="file type, as export_gguf names it")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side; the median counts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="export-") as name:
        work = Path(name)
        gemma = work / "models" / "random-gemma-270m"
        subprocess.run([sys.executable, "-P", str(HERE / "random_gemma.py"), str(gemma)], check=True)
        models = {"SmolLM2-135M": fetch_base_model("smollm2-135m"), "random Gemma 3 270M": gemma}
        for label, model in models.items():
            checked = label == "SmolLM2-135M"
            figures[label] = compare(model, work, options, checked=checked)
    rows = [row(label, side, found) for label, found in figures.items() for side in SIDES if side in found]
    print_table(rows, ("model", "side", "seconds", "peak MB", "time / peer", "memory / peer"), figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    ratios = [found["ratios"][what] for found in figures.values() for what in ("seconds", "peak_mb")]
    return 0 if max(ratios) <= TARGET else 1


def compare(model: Path, work: Path, options: argparse.Namespace, *, checked: bool) -> dict[str, Any]:
    """Run the sides in turn, so that a slow minute of the machine meets both; medians of each."""
    ours, theirs, between = work / "ours.gguf", work / "theirs.gguf", work / "f16.gguf"
    python = [sys.executable, "-P", "-c"]
    convert = [sys.executable, str(options.llama_cpp / "convert_hf_to_gguf.py"), str(model), "--outtype", "f16"]
    quantize = [str(options.llama_quantize), str(between), str(theirs), options.type, str(os.cpu_count())]

    def write() -> list[Measured]:
        settings = Path(tempfile.mkdtemp(dir=work))
        return [run([*python, WRITE, str(model), options.type, str(settings), str(ours)], work)]

    def peer() -> list[Measured]:
        return [run([*convert, "--outfile", str(between)], work), run(quantize, work)]

    def export() -> list[Measured]:
        for path in work.glob("checked.*"):
            path.unlink()
        return [run([*python, EXPORT, str(model), options.type, "", str(work / "checked.gguf")], work)]

    sides: dict[str, Callable[[], list[Measured]]] = {"ours": write, "llama.cpp": peer}
    if checked:
        sides["checked"] = export
    runs: dict[str, list[list[Measured]]] = {side: [] for side in sides}
    for number in range(options.repeat + 1):
        for side, action in sides.items():
            measured = action()
            if number:  # the first round warms the disk's cache up
                runs[side].append(measured)
    found: dict[str, Any] = {side: median(measured) for side, measured in runs.items()}
    found["ratios"] = {what: found["ours"][what] / found["llama.cpp"][what] for what in ("seconds", "peak_mb")}
    found["same_bytes"] = ours.read_bytes() == theirs.read_bytes()
    return found


def run(command: list[str], work: Path) -> Measured:
    measured = measure(command, cwd=work, every=EVERY)
    if measured.status:
        sys.exit(f"{command[:4]} failed with status {measured.status}:\n{measured.stderr[-2000:]}")
    return measured


def median(runs: list[list[Measured]]) -> dict[str, float]:
    """Seconds of all processes of a run together, the largest of their peaks; the median over the runs."""
    return {
        "seconds": round(statistics.median(sum(one.seconds for one in processes) for processes in runs), 2),
        "peak_mb": round(statistics.median(max(one.peak_bytes for one in processes) for processes in runs) / 1e6, 1),
    }


def row(label: str, side: str, found: dict[str, Any]) -> list[str]:
    ratios = [f"{found['ratios'][what]:.2f}" for what in ("seconds", "peak_mb")] if side == "ours" else ["", ""]
    return [label, SIDES[side], f"{found[side]['seconds']}", f"{found[side]['peak_mb']}", *ratios]


if __name__ == "__main__":
    sys.exit(main())
