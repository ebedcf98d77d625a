"""What was asked and what ran, one folder a request: runs/records/<id>/record.json, and latest.json beside them."""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from tunesmith.tools.artifacts import METADATA, file_sha256, is_complete, read_json, write_json
from tunesmith.tools.base import BadRequest, Result
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import here

from .plan import History, Plan, Ran, Step

__all__ = [
    "RECORDS",
    "Record",
    "RecordState",
    "StepRecord",
    "artifact",
    "earlier_result",
    "find",
    "history",
    "is_made",
    "load_all",
    "lock",
    "moment",
    "new_record",
    "newest",
    "now",
    "save",
    "step_key",
]

RECORDS = Path("runs/records")
_LATEST = RECORDS / "latest.json"
_REMEMBERED = 20  # requests that a follow-up can refer to
_HASHED_WHOLE = 64 * 2**20  # larger input files are told apart by size and time, to keep planning quick

StepState = Literal["waiting", "running", "done", "reused", "failed", "interrupted"]
RecordState = Literal[
    "planned", "declined", "waiting", "running", "done", "failed", "interrupted", "question", "refusal", "chat"
]
_UNFINISHED = ("waiting", "running", "failed", "interrupted")


class StepRecord(BaseModel):
    """One step of a record: what was asked of the tool and what came of it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    tool: str
    args: dict[str, Any]
    origin: dict[str, str]
    state: StepState = "waiting"
    key: str | None = Field(default=None, description="hash of tool, arguments and input artifacts at the start")
    started: str | None = None
    seconds: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    log: str | None = None
    notes: list[str] = []


class Record(BaseModel):
    """One request and all that became of it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    id: str
    created: str
    request: str
    dry_run: bool = False
    state: RecordState
    reply: str | None
    changed: list[str]
    problems: list[str]
    pending: dict[str, Any] | None
    steps: list[StepRecord]
    undone: bool = Field(default=False, description="whether this is an earlier plan again, as `undo` asked")
    estimate: dict[str, Any] | None = Field(default=None, description="what the plan was said to take (estimate.py)")
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    _home: Path = PrivateAttr(default_factory=here)

    @property
    def home(self) -> Path:
        """The working folder."""
        return self._home

    @property
    def folder(self) -> Path:
        return self._home / RECORDS / self.id

    @property
    def results(self) -> list[Result]:
        """The typed Results of the steps that are done, in the order of the steps."""
        return [TOOLS[step.tool].result.model_validate(step.result) for step in self.steps if step.result is not None]

    def plan(self) -> Plan:
        """The plan as it was shown."""
        kind = self.state if self.state in ("question", "refusal", "chat") else "run"
        return Plan(
            request=self.request,
            steps=tuple(
                Step(step.tool, step.args, step.origin, reuse=step.state == "reused")  # type: ignore[arg-type]
                for step in self.steps
            ),
            reply=self.reply,
            changed=tuple(self.changed),
            problems=tuple(self.problems),
            pending=self.pending,
            undone=self.undone,
            kind=kind,  # type: ignore[arg-type]  # one of the three names, or run
        )


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment() -> str:
    """Now, as ids begin: every later record has a greater id."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-3]


def new_record(plan: Plan, *, dry_run: bool = False, estimate: dict[str, Any] | None = None) -> Record:
    """Start a record for a plan, with what it is said to take, and write it. Ids sort by time."""
    record = Record(
        id=f"{moment()}-{secrets.token_hex(2)}",
        created=now(),
        request=plan.request,
        dry_run=dry_run,
        state="planned" if plan.steps else ("question" if plan.kind == "run" else plan.kind),
        reply=plan.reply,
        changed=list(plan.changed),
        problems=list(plan.problems),
        pending=plan.pending,
        steps=[
            StepRecord(
                tool=step.tool, args=step.args, origin=dict(step.origin), state="reused" if step.reuse else "waiting"
            )
            for step in plan.steps
        ],
        undone=plan.undone,
        estimate=estimate,
    )
    save(record)
    _point_at(record)
    return record


def _point_at(record: Record) -> None:
    """Name the newest record. Several may begin at once, each with a partial file of its own."""
    partial = here(_LATEST.with_name(f"latest-{record.id}.partial"))
    partial.write_text(json.dumps({"id": record.id}) + "\n", encoding="utf-8")
    partial.replace(here(_LATEST))


def save(record: Record) -> None:
    """Write a record as it is now, complete or not at all."""
    write_json(record.folder / "record.json", record.model_dump(mode="json"))


def _load(folder: Path) -> Record | None:
    try:
        record = Record.model_validate(read_json(folder / "record.json"))
    except (OSError, ValueError, ValidationError):
        return None
    if record.state == "running" and not _at_work(record):  # its process was killed before it could say so
        record.state = "interrupted"
        for step in record.steps:
            step.state = "interrupted" if step.state == "running" else step.state
    return record


def _at_work(record: Record) -> bool:
    """Whether a process, this one or another, works on a record now."""
    try:
        with lock(record, patience_seconds=0):
            return False
    except (BadRequest, OSError):
        return True


def load_all() -> list[Record]:
    """The records of this working folder, oldest first. Unreadable ones are left out."""
    return _loaded(_folders())


def newest(count: int = _REMEMBERED) -> list[Record]:
    """The last records of this working folder, newest first."""
    return _loaded(_folders()[-count:])[::-1]


def _folders() -> list[Path]:
    """The folders of all records, whose names are their ids, oldest first."""
    records = here(RECORDS)
    return sorted(path for path in records.iterdir() if path.is_dir()) if records.is_dir() else []


def _loaded(folders: list[Path]) -> list[Record]:
    return [record for record in map(_load, folders) if record is not None]


def find(record_id: str | None, *, unfinished: bool = False) -> Record:
    """The record of that id (a beginning is enough), or the newest one; `unfinished` looks for one to resume.

    Raises:
        BadRequest: there is none, or the beginning fits several.
    """
    records = load_all()
    if record_id is not None:
        fitting = [record for record in records if record.id.startswith(record_id)]
        if len(fitting) != 1:
            what = "no run has" if not fitting else f"{len(fitting)} runs have"
            raise BadRequest(f"{what} an id that begins with `{record_id}`; `tunesmith runs` lists them")
        return fitting[0]
    if unfinished:
        records = [record for record in records if record.state in _UNFINISHED]
    else:
        records = [record for record in records if record.steps]
    if not records:
        raise BadRequest(
            "there is no unfinished run in this folder; `tunesmith runs` lists what ran"
            if unfinished
            else "no run has been recorded in this folder yet"
        )
    return records[-1]


@contextmanager
def lock(record: Record, patience_seconds: float = 10) -> Iterator[int]:
    """Hold a record for one process at a time; yields the lock's descriptor, which its tool process inherits.

    A process that died a moment ago may still have a tool ending itself: that is waited for.

    Raises:
        BadRequest: another process works on this record.
    """
    descriptor = os.open(record.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BadRequest(f"run `{record.id}` is at work in another process") from None
                time.sleep(0.1)
        yield descriptor
    finally:
        os.close(descriptor)


def _fingerprint(path: Path) -> str:
    """What tells this input from another: a finished artifact by its metadata, a file by its content."""
    path = here(path)
    try:
        if is_complete(path):
            return file_sha256(path / METADATA)
        if path.is_file():
            stat = path.stat()
            return file_sha256(path) if stat.st_size <= _HASHED_WHOLE else f"{stat.st_size} {stat.st_mtime_ns}"
        if path.is_dir():
            entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
            facts = [(str(entry.relative_to(path)), *_size_and_time(entry)) for entry in entries]
            return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return "absent"


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def step_key(tool: str, args: dict[str, Any]) -> str:
    """Hash of a step's tool, arguments and the present state of its local inputs."""
    reads = TOOLS[tool].validate(args).reads()
    facts = [tool, sorted((name, value) for name, value in args.items()), [_fingerprint(path) for path in reads]]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def artifact(tool: str, args: dict[str, Any]) -> Path | None:
    """What the step makes, or None for a step that names no output beforehand."""
    return next(iter(TOOLS[tool].validate(args).writes()), None)


def is_made(path: Path | None) -> bool:
    """Whether an artifact is there and complete; a step without one counts as made."""
    return path is None or here(path).is_file() or is_complete(here(path))


def _is_done(step: StepRecord) -> bool:
    """Whether a recorded step still stands: it was done, its outputs are there, its inputs are what they were."""
    if step.state not in ("done", "reused") or step.key is None or step.tool not in TOOLS:
        return False
    try:
        return is_made(artifact(step.tool, step.args)) and step_key(step.tool, step.args) == step.key
    except BadRequest:
        return False  # recorded by a version with other parameters


def earlier_result(step: StepRecord) -> dict[str, Any] | None:
    """What came of the same step when it was done in an earlier run."""
    found = (other for record in reversed(load_all()) for other in record.steps if other.key == step.key)
    return next((other.result for other in found if other.result is not None and other.args == step.args), None)


def history(since: str | None = None, own: Collection[str] = ()) -> History:
    """What ran in this working folder, as a planner sees it. Steps count up to the first that no longer stands.

    Args:
        since: the moment at which a conversation began. Of later records only its `own` count as said in it; what
            other conversations write to in the same folder is taken all the same.
        own: ids of records.
    """
    ran = []
    folders = _folders()
    others = [folder for folder in folders if since is not None and folder.name >= since and folder.name not in own]
    taken = frozenset(
        str(path)
        for record in _loaded(others)
        if record.state in _UNFINISHED
        for step in record.steps
        for path in TOOLS[step.tool].validate(step.args).writes()
    )
    for record in _loaded([folder for folder in folders if folder not in others][-_REMEMBERED:]):
        if record.state == "chat":
            continue
        finished = 0
        for step in record.steps:
            if not _is_done(step):
                break
            finished += 1
        ran.append(Ran(record.plan(), finished, begun=record.state not in ("planned", "declined")))
    return History(tuple(ran), taken)
