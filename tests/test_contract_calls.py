"""The contract's example calls, executed as agents.md writes them, against a hub on loopback.

The hub serves a Gemma 3 of random weights under the catalogue's id, a small corpus, and items of HellaSwag's shape.
What the calls make is real: rows, an adapter, a GGUF file that llama.cpp loads, and a score.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub import Hub
from tunesmith.agent import contract
from tunesmith.tools.catalogue import BASE_MODELS

CALLS = contract.load().calls
LINES = contract.CONTRACT_FILE.read_text(encoding="utf-8").splitlines()
NOUNS = ["fox", "dog", "wizard", "jar", "river", "lamp", "garden", "winter", "engine", "letter"]


@pytest.fixture(scope="module")
def hub_folders(tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Path) -> dict[str, Path]:
    corpus = tmp_path_factory.mktemp("my_corpus")
    rows = [
        {"instruction": f"Where was {noun} {number}?", "output": f"{noun.title()} {number} was near the river."}
        for number in range(6)
        for noun in NOUNS
    ]
    (corpus / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hellaswag = tmp_path_factory.mktemp("hellaswag")
    items = [
        {
            "ind": number,
            "activity_label": "Walking",
            "ctx_a": f"A {noun} is near the river.",
            "ctx_b": "it",
            "ctx": f"A {noun} is near the river. it",
            "endings": ["sleeps.", "goes to the lamp.", "is a letter.", "eats winter."],
            "source_id": f"activitynet~{number}",
            "split": "val",
            "split_type": "indomain",
            "label": str(number % 4),
        }
        for number, noun in enumerate(NOUNS)
    ]
    for split in ("train", "validation"):
        (hellaswag / f"{split}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return {
        f"models/{BASE_MODELS['gemma3-270m'].hub_id}": tiny_gemma,
        "datasets/my_corpus": corpus,
        "datasets/Rowan/hellaswag": hellaswag,
    }


def test_the_four_example_calls_run_as_written(
    hub_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("work")
    results = {}
    with Hub(hub_folders) as hub:
        environment = {
            **os.environ,
            **hub.environment(folder / "hf"),
            "TUNESMITH_CACHE": str(folder / "cache"),
        }
        for call in CALLS:
            written = LINES[call.line - 1].strip()
            assert ast.parse(written)
            code = f"from tunesmith.tools import {call.tool}\nprint({written}.model_dump_json())"
            done = subprocess.run(
                [sys.executable, "-P", "-c", code],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{written}\n{done.stderr}"
            results[call.tool] = json.loads(done.stdout)
        assert any("my_corpus" in path for _, path in hub.requests)

    assert results["prepare_dataset"]["rows"] == 40
    assert results["prepare_dataset"]["heldout_rows"] == 20
    trained = results["finetune_unsloth"]
    assert (folder / "runs/gemma3-270m/metadata.json").is_file()
    assert trained["steps"] == 3 * 40 / 4
    exported = results["export_gguf"]
    assert (folder / "models/gemma3-270m-finetuned.gguf").stat().st_size == exported["bytes"]
    report = results["run_eval"]
    assert report["n"] == len(NOUNS)
    assert {row["metric"] for row in report["metrics"]} >= {"acc", "acc_norm"}
    assert all(row["base"] is not None for row in report["metrics"])
