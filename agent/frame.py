"""What one message asks for, in a form small enough for a language model to fill in."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

__all__ = ["Frame", "Intent"]

Intent = Literal["new", "change", "answer", "repeat", "undo", "cancel", "chat", "refuse"]


@dataclass(frozen=True)
class Frame:
    """One message as data, before anything that the user left out is filled in. Plain JSON values throughout.

    Attributes:
        intent: `new` starts a pipeline, `change` edits or extends the last one, `answer` completes the request
            that an open question is about, `repeat` runs it once more,
            `undo` goes back to the plan before it,
            `cancel` forgets the open question, `chat` and `refuse` only answer.
        want: tools asked for.
        drop: tools that the user does not want.
        values: `tool.parameter` -> the values asked for. Several values of one parameter make several steps. A
            relative value is `{"times": 2}` or `{"plus": -1}`, and `{"default": True}` takes a value back.
        more: keys of `values` that make further steps beside the last plan's, instead of replacing values.
        paired: keys whose first values belong together, and whose second do, instead of every combination.
        every: whether "both" or "all" of the last plan's files are meant, not only the newest.
        without: `tool.parameter` -> values of the last plan that go.
        family: a base model's family as written (`llama3.2`), where the name leaves several models.
        loose: numbers that belong to no parameter by themselves; an answer's belong to what the question asked.
        about: the parameter that `reply` asks for, as `tool.parameter`.
        reply: what to say instead of making a plan.
        remarks: what to say beside a plan.
    """

    intent: Intent = "new"
    want: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    values: dict[str, list[Any]] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    paired: tuple[str, ...] = ()
    every: bool = False
    without: dict[str, list[Any]] = field(default_factory=dict)
    family: str | None = None
    loose: tuple[int | float, ...] = ()
    about: str | None = None
    reply: str | None = None
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields that say something."""
        return {name: value for name, value in asdict(self).items() if value or name == "intent"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Frame":
        """The inverse of `to_json`.

        >>> frame = Frame(want=("run_eval",), values={"run_eval.limit": [10]})
        >>> Frame.from_json(frame.to_json()) == frame
        True
        """
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return cls(**fields)

    def completed_by(self, answer: "Frame", about: str | None) -> "Frame":
        """This frame with an answer's values in it; a loose number goes to the parameter asked about."""
        values = {**self.values, **answer.values}
        if about and answer.loose and about not in answer.values:
            values[about] = list(answer.loose)
        return replace(
            self,
            want=tuple(dict.fromkeys(self.want + answer.want)),
            drop=tuple(dict.fromkeys(self.drop + answer.drop)),
            values=values,
            more=tuple(dict.fromkeys(self.more + answer.more)),
            family=None if "finetune_unsloth.base_model" in values else answer.family or self.family,
            loose=(),
            about=None,
            reply=None,
            remarks=answer.remarks,
        )
