"""What an importance matrix is worth: distance to the 16-bit model and perplexity with and without it.

Usage: python benchmarks/imatrix.py [--data DIR] [--types q4_k_m q3_k_m q2_k] [--tokens 3000]

SmolLM2-135M-Instruct is exported in 16 bits and quantised twice in each type: plainly, and with importance weights that
are computed from the training rows. Then all files read the same rows that were held out, and each is compared with the
16-bit one after every token: mean KL divergence of the next-token distributions, share of equal first choices, and
perplexity. `DIR` holds alpaca_en_demo.json; without it the rows are those of examples/tickets.jsonl.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import print_table
from tunesmith.tools.base_models import fetch_base_model
from tunesmith.tools.export_gguf import ExportGgufInput, export_gguf
from tunesmith.tools.gguf_quants import quantize_file
from tunesmith.tools.imatrix import calibration_rows, importance_weights
from tunesmith.tools.llama_cpp import LlamaContext, LlamaModel
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, prepare_dataset

MODEL = "smollm2-135m"
TICKETS = Path(__file__).resolve().parents[1] / "examples" / "tickets.jsonl"


@dataclass
class Sums:
    """Totals over all compared tokens."""

    kl: float = 0.0
    same: int = 0
    nll: float = 0.0


def _log_softmax(logits_NV: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    shifted = logits_NV.astype(np.float64) - logits_NV.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def compare(reference: Path, files: Sequence[Path], rows: Sequence[Sequence[int]]) -> list[Sums]:
    """Sums of the reference, then of each file, over every token of `rows` but the first of each."""
    sums = [Sums() for _ in range(len(files) + 1)]
    with ExitStack() as stack:
        contexts = []
        for file in (reference, *files):
            model = stack.enter_context(LlamaModel(file))
            contexts.append(stack.enter_context(LlamaContext(model, n_ctx=512)))
        for row in rows:
            count = len(row) - 1
            p_NV: Any = None
            for context, total in zip(contexts, sums, strict=True):
                context.clear()
                q_NV = _log_softmax(context.decode(row[:-1], range(count), [0] * count, [True] * count))
                p_NV = q_NV if p_NV is None else p_NV
                total.kl += float((np.exp(p_NV) * (p_NV - q_NV)).sum())
                total.same += int((p_NV.argmax(axis=1) == q_NV.argmax(axis=1)).sum())
                total.nll -= float(q_NV[np.arange(count), row[1:]].sum())
    return sums


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with alpaca_en_demo.json")
    parser.add_argument("--types", nargs="+", default=["q4_k_m", "q3_k_m", "q2_k"], help="quantised types")
    parser.add_argument("--tokens", type=int, default=3000, help="held-out tokens that are compared")
    parser.add_argument("--calibration", type=int, help="tokens that the importance is computed from")
    options = parser.parse_args()
    from transformers import AutoTokenizer

    source = options.data / "alpaca_en_demo.json" if options.data else TICKETS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_dataset(PrepareDatasetInput(source=str(source), output_dir=str(folder / "data")))
        tokenizer = AutoTokenizer.from_pretrained(fetch_base_model(MODEL))
        plain = folder / "f16.gguf"
        export_gguf(ExportGgufInput(checkpoint_dir=MODEL, quantization="f16", output_file=str(plain)))
        more = {"max_tokens": options.calibration} if options.calibration else {}
        calibration = calibration_rows(str(folder / "data" / "train"), tokenizer, **more)
        began = time.perf_counter()
        weights = importance_weights(plain, calibration.rows)
        seconds = time.perf_counter() - began
        heldout = calibration_rows(str(folder / "data" / "heldout"), tokenizer, max_tokens=options.tokens)
        files = []
        for kind in options.types:
            for importance in (None, weights):
                files.append(folder / f"{kind}{'-imatrix' if importance else ''}.gguf")
                quantize_file(plain, files[-1], kind, importance=importance)
        sums = compare(plain, files, [row for row in heldout.rows if len(row) > 1])
        sizes = [file.stat().st_size for file in (plain, *files)]
    count = sum(len(row) - 1 for row in heldout.rows)
    rows, figures = [], []
    for file, total, size in zip((plain, *files), sums, sizes, strict=True):
        figure = {
            "file": file.stem,
            "mb": round(size / 1e6, 1),
            "kl": round(total.kl / count, 5),
            "same": round(total.same / count, 4),
            "perplexity": round(math.exp(total.nll / count), 3),
        }
        figures.append(figure)
        rows.append([file.stem, figure["mb"], figure["kl"], f"{100 * total.same / count:.1f} %", figure["perplexity"]])
    print(f"{source.name}: {calibration.tokens} training tokens in {seconds:.0f} s, {count} held-out tokens compared")
    print_table(
        rows,
        ["file", "MB", "mean KL to f16, nats", "same first choice", "perplexity"],
        {"files": figures, "calibration_tokens": calibration.tokens, "seconds": round(seconds, 1), "tokens": count},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
