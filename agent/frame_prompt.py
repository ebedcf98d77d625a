"""What the planner's model reads of a request and of what went before it."""

from .frame import Frame
from .frame_text import value_text, write
from .frame_words import TOOLS_AS, key_of
from .keys import EVAL_SET, QUANTIZATION
from .pipeline import INPUT, OUTPUT
from .plan import History, Plan
from .translation import in_english

__all__ = ["LONGEST", "SYSTEM", "prompt", "rendered"]

SYSTEM = "plan"
"""The system message before every prompt."""

LONGEST = 2_000  # characters of a request that the model reads


def rendered(text: str) -> str:
    """A prompt as the base model's chat template writes it, ready for the answer.

    >>> rendered("hi")
    '<|im_start|>system\\nplan<|im_end|>\\n<|im_start|>user\\nhi<|im_end|>\\n<|im_start|>assistant\\n'
    """
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def prompt(text: str, history: History) -> str:
    """What the model reads: the last plan and the open question in a line each, where there are any, and the request.

    Of the last plan it sees what a user asked for, and the files only where there are several. A request in another
    language is read as `translation` turns it into English, word by word: a small model that learned English knows more
    of it so, and it is shorter: of lessons in Hindi 45 % of the tokens are left, in Chinese 70, in the others 73 to 81.
    """
    lines = []
    pending = history.pending.pending if history.pending else None
    waiting = Frame.from_json(pending["frame"]) if pending else None
    if history.last is not None and (waiting is None or waiting.intent != "new"):
        lines.append(f"last: {_outline(history.last)}")
    if waiting is not None and pending is not None:
        about = pending.get("about")
        asked = f"{TOOLS_AS[about.split('.')[0]]} {key_of(about)}" if about else "what"
        lines.append(f"open: {_written(waiting)}\nasked: {asked}")
    return "\n".join([*lines, in_english(text.strip()[:LONGEST])])


def _written(frame: Frame) -> str:
    try:
        return write(frame)
    except ValueError:  # a name that no line can hold
        return frame.intent


def _outline(plan: Plan) -> str:
    """The sections of a plan that ran."""
    several = len([step for step in plan.steps if step.tool == "export_gguf"]) > 1
    sections = []
    for step in plan.steps:
        words = [TOOLS_AS[step.tool]]
        made_before = {INPUT.get(step.tool), OUTPUT.get(step.tool)} - {None}
        for name, value in step.args.items():
            key = f"{step.tool}.{name}"
            asked = step.origin.get(name) in ("you", "last run") and name not in made_before
            named = key in (QUANTIZATION, EVAL_SET) or (several and key == "export_gguf.output_file")
            alone = name in made_before and step.origin.get(name) == "you"
            if asked or named or alone:
                try:
                    words += [key_of(key), value_text(key, value)]
                except ValueError:  # a name that no line can hold
                    words.pop() if words[-1] == key_of(key) else None
        sections.append(" ".join(words))
    return "; ".join(sections)
