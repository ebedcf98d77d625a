"""What each line of a chat does: a request, an answer to a plan, a word to a running training, or a command."""

import threading
from collections.abc import Callable
from typing import Any

from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed
from tunesmith.tools.control_file import STOPPED
from tunesmith.tools.process import Interrupt

from . import records
from .chat_commands import meant_by, show_help, show_models, split_command
from .cli import DONE, FAILED, REFUSED, answer, consoles
from .estimate import estimate
from .executor import Watcher
from .live_run import find_live, refused, steer
from .plan import Plan
from .preview import show_plan, show_record, show_records
from .progress import ProgressDisplay, Status
from .records import Record
from .session import Session
from .steering import read_wish

__all__ = ["Conversation"]

_YES = {"y", "yes", "run", "run it", "go", "ok", "approve"}
_NO = {"n", "no", "nope", "nah", "no thanks", "no thank you", "not now", "refuse", "cancel", "drop it", "forget it"}


class Conversation:
    """A chat in the current working folder.

    Attributes:
        offer: the plan that waits for a yes, a no or a change; it is on record already.
        over: whether the chat was asked to end.
        status: what moves while a run goes on.
    """

    def __init__(self, session: Session, *, assume_yes: bool, background: bool) -> None:
        """Begin.

        Args:
            assume_yes: plans run without the question.
            background: a run leaves the prompt free, and a plan waits for its yes in the chat itself; otherwise a
                line ends with its run, and the question is asked on the spot.
        """
        self.offer: Record | None = None
        self.over = False
        self.status = Status()
        self._session = session
        self._assume_yes = assume_yes
        self._background = background
        self._talk, self._output = consoles()
        self._run: threading.Thread | None = None
        self._interrupt = Interrupt()

    @property
    def busy(self) -> bool:
        """Whether a run goes on in the background."""
        return self._run is not None and self._run.is_alive()

    def say(self, text: str) -> int:
        """Do what one line asks; returns an exit status. What went wrong is told, not raised."""
        text = text.strip()
        try:
            return self._say(text) if text else DONE
        except (BadRequest, MissingExtra) as error:
            self._tell(f"error: {error}")
            return REFUSED
        except ToolFailed as error:
            self._tell(f"error: {error}")
            return FAILED

    def _say(self, text: str) -> int:
        if (command := split_command(text)) is not None:
            return self._command(*command)
        if self.busy:
            return self._steer(text)
        if (told := steer(text)) is not None:
            self._tell(told)
            return DONE
        said = text.lower().rstrip(".!")
        if self.offer is not None and said in _YES:
            return self._approve(self.offer)
        if self.offer is not None and said in _NO:
            self.offer.state = "declined"
            records.save(self.offer)
            self.offer = None
            self._tell("not run")
            return DONE
        return self._ask(text)

    def _command(self, command: str, rest: str) -> int:
        if command == "/help":
            show_help(self._output)
        elif command == "/runs":
            show_records(records.load_all(), self._output)
        elif command == "/show":
            show_record(records.find(rest or None), self._output)
        elif command == "/plan" and not rest:
            show_plan((self.offer or records.find(None)).plan(), self._output)
        elif command == "/plan":
            show_plan(self._session.ask(rest), self._output)
        elif command == "/model" and not rest:
            show_models(self._output)
        elif self.busy:
            raise BadRequest("a run is going on; Ctrl-C stops it and keeps its state")
        elif command == "/quit":
            self.over = True
        elif command == "/resume":
            found = records.find(rest or None, unfinished=not rest)
            return self._start(lambda watch, interrupt: self._session.resume(found.id, watch, interrupt))
        else:
            return self._ask(meant_by(command, rest))
        return DONE

    def _steer(self, text: str) -> int:
        live = find_live()
        if live is None:
            raise BadRequest("the run is between two steps; say that again in a moment")
        wish = read_wish(text)
        if wish is None:
            raise BadRequest(refused(text))
        self._tell(live.answer(wish))
        return DONE

    def _ask(self, text: str) -> int:
        plan = self._session.ask(text)
        if not self._background:
            return answer(self._session, plan, assume_yes=self._assume_yes)
        if not plan.steps:
            self._session.note(plan)
            self._tell(plan.reply or "")
            if plan.kind == "question":
                self.offer = None  # a yes would answer the question
            return DONE if plan.kind == "chat" else REFUSED
        show_plan(plan, self._talk)
        return self._propose(plan)

    def _propose(self, plan: Plan) -> int:
        """Put a plan that was shown to the question, or run it where no question is wanted."""
        record, self.offer = self._session.note(plan), None
        if plan.problems:
            self._tell("it can't run as it is; change it, or mend that and ask again")
            return REFUSED
        if all(step.reuse for step in plan.steps):
            return self._approve(record)
        self._tell(estimate(plan).told(plan))
        if self._assume_yes:
            return self._approve(record)
        self.offer = record
        return DONE

    def _approve(self, record: Record) -> int:
        self.offer = None
        expected = estimate(record.plan())

        def work(watch: Watcher, interrupt: Interrupt) -> Record:
            def listen(position: int, tool: str, event: dict[str, Any]) -> None:
                watch(position, tool, event)
                if remark := expected.overrun(position, event):
                    self._tell(remark)

            ran = self._session.resume(record.id, listen, interrupt)
            self._tell(expected.beside(ran))
            return ran

        return self._start(work)

    def recall(self) -> None:
        """Tell where the last chat in this folder ended, and take it up there."""
        earlier = [record for record in records.load_all() if record.state != "chat"]
        if not earlier:
            self._tell("nothing has been asked in this folder yet")
            return
        last = earlier[-1]
        self._tell(f"{last.created}  {last.state}  {last.request}")
        if last.state == "planned" and not last.dry_run:
            show_plan(last.plan(), self._talk)
            self.offer = None if last.problems else last
            if self.offer is not None:
                self._tell(estimate(last.plan()).told(last.plan()))
        elif last.state == "question":
            self._tell(last.reply or "")
        elif last.state in ("running", "failed", "interrupted"):
            if live := find_live():
                self._tell(f"{live.progress()}, in another process")
            else:
                self._tell("hint: /resume goes on with it")
        elif last.steps:
            self._tell("hint: /show tells its results")

    def stop(self) -> None:
        """Interrupt the step that is going on; it keeps its state. Returns at once."""
        if self._interrupt.asked:
            self._tell("it is stopping; the state is being saved")
        else:
            self._interrupt.ask()

    def close(self) -> None:
        """Stop what goes on and wait for its state to be saved."""
        if self.busy and self._run is not None:
            self._interrupt.ask()
            self._run.join()

    def _start(self, work: Callable[[Watcher, Interrupt], Record]) -> int:
        self._interrupt, self.status = Interrupt(), Status()
        if not self._background:
            with ProgressDisplay(self._talk, self._output) as display:
                self._finished(work(display, self._interrupt))
            return DONE
        self._run = threading.Thread(target=self._work, args=(work,), name="run", daemon=True)
        self._run.start()
        return DONE

    def _work(self, work: Callable[[Watcher, Interrupt], Record]) -> None:
        """The run's own thread: from its start to the line that tells how it ended."""
        try:
            self._finished(work(ProgressDisplay(self._talk, self._output, self.status), self._interrupt))
        except (KeyboardInterrupt, BadRequest, MissingExtra, ToolFailed) as error:
            if isinstance(error, KeyboardInterrupt) or STOPPED in str(error):
                self._tell(f"stopped {self.status.place or 'before the first step'}; its state is kept")
                self._tell("hint: /resume goes on from there")
            else:
                self._tell(f"error: {error}")

    def _finished(self, record: Record) -> None:
        self._output.print(f"record: {record.folder / 'record.json'}", markup=False, soft_wrap=True)

    def _tell(self, text: str) -> None:
        self._talk.print(text, markup=False, highlight=False, soft_wrap=not self._talk.is_terminal)
