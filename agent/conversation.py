"""What each line of a chat does: a request, an answer to a plan, a word to a running training, or a command."""

import threading
from typing import Any

from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed
from tunesmith.tools.control_file import STOPPED, GoOn, Stop
from tunesmith.tools.process import Interrupt

from . import records
from .ask_and_run import answer, run_recorded
from .chat_commands import meant_by, show_help, show_models, split_command
from .cli import DONE, FAILED, REFUSED
from .consoles import consoles
from .estimate import estimate, took
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
        asking: whether a training waits for a yes or a no, since it turned out larger than was said.
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
        self.asking = False
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
        elif command == "/plan":
            self._show_plan(rest)
        elif command == "/model" and not rest:
            show_models(self._output)
        elif self.busy:
            raise BadRequest("a run is going on; Ctrl-C stops it and keeps its state")
        elif command == "/quit":
            self.over = True
        elif command == "/resume":
            return self._start(records.find(rest or None, unfinished=not rest).id)
        else:
            return self._ask(meant_by(command, rest))
        return DONE

    def _steer(self, text: str) -> int:
        live = find_live()
        if live is None:
            raise BadRequest("the run is between two steps; say that again in a moment")
        wish = self._answered(text) or read_wish(text)
        if wish is None:
            raise BadRequest(refused(text))
        self._tell(live.answer(wish))
        return DONE

    def _answered(self, text: str) -> GoOn | Stop | None:
        """What a yes or a no means to a training that waits for one."""
        said = text.lower().rstrip(".!")
        return None if not self.asking else GoOn() if said in _YES else Stop() if said in _NO else None

    def _show_plan(self, request: str) -> None:
        """A request's plan, the one on offer, or the last one; with what it will take, or took."""
        record = None if request else self.offer or records.find(None)
        plan = self._session.ask(request) if record is None else record.plan()
        show_plan(plan, self._output)
        if record is not None and record.state == "done":
            self._tell_what_it_took(record)
        elif plan.steps and not plan.problems:
            self._tell(estimate(plan).told(plan))

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
        return self._start(record.id)

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

    def _start(self, record_id: str) -> int:
        if not self._background:
            return run_recorded(self._session, records.find(record_id))
        self._interrupt, self.status = Interrupt(), Status()
        self._run = threading.Thread(target=self._work, args=(record_id,), name="run", daemon=True)
        self._run.start()
        return DONE

    def _work(self, record_id: str) -> None:
        """The run's own thread: from its start to the line that tells how it ended."""
        display = ProgressDisplay(self._talk, self._output, self.status)

        def watch(position: int, tool: str, event: dict[str, Any]) -> None:
            display(position, tool, event)
            if event["event"] in ("probe", "step", "done"):
                self.asking = bool(event.get("asks")) and not self._assume_yes

        try:
            record = self._session.resume(record_id, watch, self._interrupt)
        except (KeyboardInterrupt, BadRequest, MissingExtra, ToolFailed) as error:
            if isinstance(error, KeyboardInterrupt) or STOPPED in str(error):
                self._tell(f"stopped {self.status.place or 'before the first step'}; its state is kept")
                self._tell("hint: /resume goes on from there")
            else:
                self._tell(f"error: {error}")
        else:
            self._tell_what_it_took(record)
            self._output.print(f"record: {record.folder / 'record.json'}", markup=False, soft_wrap=True)
        finally:
            self.asking = False

    def _tell_what_it_took(self, record: Record) -> None:
        if text := took(record):
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._talk.print(text, markup=False, highlight=False, soft_wrap=not self._talk.is_terminal)
