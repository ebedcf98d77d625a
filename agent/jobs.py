"""Runs that go on while others ask: started, looked at and ended by id, with a queue for the heavy ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tunesmith.tools.background import Background
from tunesmith.tools.base import BadRequest
from tunesmith.tools.process import Interrupt

from .plan import Plan
from .records import Record
from .session import Event, Session

__all__ = ["Job", "Jobs"]

_LIGHT = {"prepare_dataset"}  # everything else fills a machine by itself
_LOOK_SECONDS = 0.2  # between two looks of a waiting job at whether it was cancelled
_ENDING_SECONDS = 35.0  # a tool process is killed after 30 s of grace


class _Queue:
    """Lets `places` jobs work at a time, in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._jobs: list[str] = []
        self._changed = threading.Condition()

    def join(self, job: str) -> None:
        with self._changed:
            self._jobs.append(job)

    def ahead(self, job: str) -> list[str]:
        """The jobs that must end or begin before this one begins; none for one that is at work."""
        with self._changed:
            position = self._jobs.index(job) if job in self._jobs else 0
            return self._jobs[:position] if position >= self._places else []

    @contextmanager
    def turn(self, job: str, interrupt: Interrupt) -> Iterator[None]:
        """Wait for a place, and give it back at the end.

        Raises:
            KeyboardInterrupt: the job was interrupted while it waited.
        """
        try:
            with self._changed:
                while self._jobs.index(job) >= self._places:
                    if interrupt.asked:
                        raise KeyboardInterrupt
                    self._changed.wait(_LOOK_SECONDS)
            yield
        finally:
            with self._changed:
                self._jobs.remove(job)
                self._changed.notify_all()


class Job:
    """One run in the background. Its id is that of its record."""

    def __init__(self, session: Session, plan: Plan, record: Record, queue: _Queue) -> None:
        self.id = record.id
        self._session, self._plan, self._queue = session, plan, queue
        self._tool, self._position, self._fraction = "", 0, 0.0
        self._figures: dict[str, Any] = {}
        self._notes: list[str] = []
        queue.join(self.id)
        self._run: Background[Event, Record] = Background(lambda _, interrupt: self._work(interrupt))

    def _work(self, interrupt: Interrupt) -> Record:
        try:
            with self._queue.turn(self.id, interrupt):
                return self._session.resume(self.id, self._watch, interrupt)
        except KeyboardInterrupt:
            self._session.mark_interrupted(self.id)
            raise

    def _watch(self, position: int, tool: str, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self._position, self._tool, self._fraction, self._figures = position, tool, 0.0, {}
        elif kind == "step":
            self._figures = {name: value for name, value in event.items() if name != "event"}
            if event["total"] is not None:
                self._fraction = min(event["done"] / max(event["total"], 1), 1.0)
        elif kind in ("note", "probe"):
            self._notes.append(event["text"])
        elif kind in ("done", "reuse"):
            self._position, self._tool, self._fraction = position, tool, 1.0

    @property
    def over(self) -> bool:
        """Whether the run has ended, well or not."""
        return self._run.over

    @property
    def progress(self) -> float:
        """Steps that are done, with the fraction of the one at work."""
        return self._position + self._fraction

    def cancel(self) -> None:
        """Ask the run to end and to keep its state; returns at once."""
        self._run.cancel()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end, however it ends."""
        try:
            self._run.result(seconds)
        except Exception:  # noqa: BLE001  # `status` tells it
            return

    def status(self) -> dict[str, Any]:
        """What is to be said of the job now, as JSON values."""
        said: dict[str, Any] = {
            "job": self.id,
            "state": "running",
            "request": self._plan.request,
            "steps": [step.tool for step in self._plan.steps],
            "record": f"tunesmith://records/{self.id}",
        }
        if self._run.over:
            return said | self._outcome()
        if ahead := self._queue.ahead(self.id):
            return said | {
                "state": "waiting",
                "message": f"waits in a queue: {len(ahead)} before it, such as `{ahead[0]}`; it starts by itself",
            }
        at_work = f"step {self._position + 1} of {len(self._plan.steps)}: {self._tool}" if self._tool else "starting"
        return said | {"message": at_work, "progress": self._figures, "notes": self._notes}

    def _outcome(self) -> dict[str, Any]:
        from tunesmith.tools.background import Cancelled

        try:
            record = self._run.result()
        except Cancelled as error:
            return {"state": "cancelled", "message": f"{error}; `run` with the same hash goes on from there"}
        except Exception as error:  # noqa: BLE001  # of a thread that has ended; a bug has its traceback in the log
            return {"state": "failed", "error": str(error) or type(error).__name__, "notes": self._notes}
        results = [
            {"tool": step.tool, "summary": result.summary(), "result": result.model_dump(mode="json")}
            for step, result in zip([s for s in record.steps if s.result is not None], record.results, strict=True)
        ]
        return {"state": "done", "results": results, "notes": self._notes}


class Jobs:
    """The jobs of one process: heavy ones one after the other, light ones as many at a time as there are cores."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._heavy, self._light = _Queue(1), _Queue(os.cpu_count() or 1)

    def start(self, session: Session, plan: Plan, resumed: str | None = None) -> Job:
        """Begin a plan, or queue it; `resumed` is the id of its job that failed or was cancelled.

        Raises:
            BadRequest: the plan has no steps, or problems.
        """
        heavy = any(step.tool not in _LIGHT and not step.reuse for step in plan.steps)
        record = session.queue(plan) if resumed is None else session.find(resumed)
        job = self._jobs[record.id] = Job(session, plan, record, self._heavy if heavy else self._light)
        return job

    def find(self, job: str) -> Job:
        """The job of that id.

        Raises:
            BadRequest: there is none; names those that there are.
        """
        if job not in self._jobs:
            known = ", ".join(self._jobs) or "there is none yet"
            raise BadRequest(f"no job has the id `{job}`; jobs of this server: {known}")
        return self._jobs[job]

    def all(self) -> list[Job]:
        """Every job, in the order of their starts."""
        return list(self._jobs.values())

    def end(self) -> None:
        """Cancel what is not over and wait until all is saved."""
        for job in self.all():
            job.cancel()
        for job in self.all():
            job.wait(_ENDING_SECONDS)
