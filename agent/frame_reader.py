"""A planner that reads a request with a small language model: SmolLM2-135M and an adapter that Tunesmith trained.

The model writes a frame as text, under a grammar made for the request, and the frame becomes a plan by the same code
that serves the rules. So it chooses among what the user said, and every value is checked once more.
"""

from dataclasses import dataclass
from pathlib import Path

from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.constrained_decoding import ConstrainedModel
from tunesmith.tools.workplace import on_disk

from .frame import Frame
from .frame_grammar import grammar
from .frame_prompt import prompt, rendered
from .frame_text import read
from .plan import History, Plan
from .planner import plan_of

__all__ = ["SURE", "FrameReader", "ModelPlanner", "Reading"]

SURE = 0.7
"""The certainty from which on a reading counts, where an adapter's provenance names none (`sure`).

Where the rules ask back and the model makes a plan (see `embedded_planner`), it was right in 20 of 24 lessons and
requests of other authors above this, and in 5 of 14 below.
"""

_END = "<|im_end|>"
_MARK = "\0"


@dataclass(frozen=True)
class Reading:
    """A message as the model understood it: the frame, its text, and the model's probability of it, 0 to 1."""

    frame: Frame
    text: str
    certainty: float


class FrameReader:
    """The model in memory: some 250 MB, loaded in about half a second.

    Args:
        gguf: the base model.
        adapter: the LoRA adapter in GGUF that taught it to write frames.
        sure: the certainty from which on a reading counts.

    Raises:
        MissingExtra: the wheel that holds llama.cpp is not installed.
        BadRequest, ToolFailed: a file is broken, or the two do not belong together.
    """

    def __init__(self, gguf: Path, adapter: Path | None, *, sure: float = SURE) -> None:
        self.sure = sure
        self._model = ConstrainedModel(gguf, adapter, end=_END)
        before, after = rendered(_MARK).split(_MARK)
        self._before, self._after = before, after

    def close(self) -> None:
        """Free the memory. May be called twice."""
        self._model.close()

    def read(self, text: str, history: History) -> Reading | None:
        """What a message asks for; None where it is too long to be read, or reads as nothing."""
        shown = prompt(text, history).replace(_MARK, " ")
        tokens = self._model.tokenize([(self._before, True), (shown, False), (self._after, True)])
        try:
            written = self._model.write(tokens, grammar(text, history))
            return Reading(read(written.text), written.text, written.certainty)
        except (BadRequest, ToolFailed, ValueError):
            return None


class ModelPlanner:
    """Reads every request with the model alone. Implements `Planner`.

    Args:
        reader: the loaded model.
        look_at_disk: whether paths that exist in the working folder count as taken.
    """

    def __init__(self, reader: FrameReader, *, look_at_disk: bool = True) -> None:
        self._reader = reader
        self._look_at_disk = look_at_disk

    def plan(self, text: str, history: History) -> Plan:
        """Answer one request: a plan, a question or a refusal; never an exception for any text."""
        reading = self._reader.read(text, history)
        frame = reading.frame if reading is not None else Frame()
        return plan_of(frame, text, history, lambda path: self._look_at_disk and on_disk(path))
