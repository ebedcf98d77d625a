"""The speeds that this machine remembers: appended by many, damaged by some, and only of machines like this one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import speeds
from tunesmith.agent.estimate import Estimate, estimate
from tunesmith.agent.session import Session
from tunesmith.agent.speeds import Speed, remember, remembered, this_machine


def speed(seconds: float = 10.0, **changes: Any) -> Speed:
    values = {"tool": "export_gguf", "args": {"imatrix": False}, "size": 1e8, "growing": seconds, **changes}
    return Speed.model_validate({"machine": this_machine(), "seconds": seconds, **values})


def test_nothing_is_remembered_at_first_and_the_newest_comes_first_later(own_state: Path) -> None:
    assert remembered() == []
    remember(speed(1.0))
    remember(speed(2.0))
    remember(speed(3.0, machine="a larger one"))
    assert [one.seconds for one in remembered()] == [2.0, 1.0]


def test_what_is_damaged_is_passed_over(own_state: Path) -> None:
    remember(speed(1.0))
    path = own_state / "speeds.jsonl"
    with path.open("ab") as stream:
        stream.write(b'\xff\xfe\n[]\n{"machine": 1}\n')
        stream.write(speed(5.0).model_dump_json().replace('"size":100000000.0', '"size":-1').encode() + b"\n")
        stream.write(b'{"machine": "cut off by a cra')
    remember(speed(2.0))
    assert [one.seconds for one in remembered()] == [2.0, 1.0]
    path.unlink()
    path.mkdir()
    remember(speed(3.0))
    assert remembered() == []


def test_many_processes_lose_no_line(own_state: Path) -> None:
    code = (
        "from tunesmith.agent.speeds import Speed, remember, this_machine\n"
        "import sys\n"
        "for n in range(20):\n"
        "    remember(Speed(machine=this_machine(), tool='run_eval', args={}, size=1, seconds=1 + n, growing=0))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-P", "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert sorted(one.seconds for one in remembered()) == sorted(4 * [1.0 + n for n in range(20)])


def test_the_file_stays_small_and_keeps_the_newest(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "_LARGEST", 3000)
    for n in range(60):
        remember(speed(1.0 + n))
    assert (own_state / "speeds.jsonl").stat().st_size <= 3200
    assert remembered()[0].seconds == 60.0
    assert sorted(path.name for path in own_state.iterdir()) == ["speeds.jsonl"]


def write_rows(folder: Path, count: int) -> None:
    folder.mkdir()
    rows = ({"prompt": f"What is {n} and {n}?", "completion": f"It is {2 * n}."} for n in range(count))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_new_folder_has_an_estimate_from_what_ran_in_another(workdir: Path, own_state: Path) -> None:
    write_rows(workdir / "one", 200)
    write_rows(workdir / "other", 400)
    training = "train smollm2-135m on rows.jsonl for 2 epochs, export q4_k_m and evaluate it"
    assert estimate(Session(workdir / "other").ask(training)).total is None
    done = Session(workdir / "one").ask("prepare rows.jsonl").run()
    (line,) = [text for text in (own_state / "speeds.jsonl").read_text().splitlines() if text]
    assert "rows.jsonl" not in line and str(workdir) not in line
    card = json.loads((workdir / "one/data/train/metadata.json").read_text())
    work = 134_515_008 * card["characters"]["total"]
    weights = {"base_model": "smollm2-135m", "method": "sft", "quant": "16bit", "lora_r": 16, "batch_size": 4}
    remember(
        Speed(
            machine=this_machine(),
            tool="finetune_unsloth",
            args={**weights, "max_seq_length": 2048},
            size=work,
            seconds=70.0,
            growing=50.0,
            memory_gib=2.5,
        )
    )
    remember(speed(30.0, size=134_515_008.0))
    remember(speed(20.0, tool="run_eval", args={"eval_set": "heldout"}, size=134_515_008.0 * 20))

    record = Session(workdir / "other").note(Session(workdir / "other").ask(training))
    assert record.estimate is not None
    prepare, train, export, evaluation = record.estimate["seconds"]
    assert prepare == pytest.approx(2 * (done.steps[0].seconds or 0), rel=0.1)
    assert train == pytest.approx(20 + 50 * 2 * 2, rel=0.1)  # twice the rows, twice the epochs
    assert export == 30.0
    assert evaluation == pytest.approx(40.0, rel=0.1)  # 40 held-out rows instead of 20
    assert (record.estimate["memory_gib"], record.estimate["memory_at_least"]) == (2.5, False)
    assert "about 4:5" in Estimate.model_validate(record.estimate).told(record.plan())
