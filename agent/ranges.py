"""What a parameter takes, in words, read from its Input model."""

from typing import Any

from tunesmith.tools.catalogue import QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .lexicon import field_types

__all__ = ["wanted_range"]


def wanted_range(key: str) -> str:
    """What a parameter takes, read from its Input model.

    >>> wanted_range("finetune_unsloth.epochs"), wanted_range("finetune_unsloth.learning_rate")
    ('a whole number from 1 to 100', 'a number above 0 and at most 0.1')
    """
    tool, name = key.split(".")
    if name == "quantization":
        return f"one of {', '.join(QUANTIZATIONS)}"
    field = TOOLS[tool].input.model_fields[name]
    kinds = field_types(key)
    choices = [str(value) for kind in kinds for value in getattr(kind, "__args__", ()) if isinstance(value, str)]
    if choices:
        return f"one of {', '.join(choices)}"
    if not kinds & {int, float}:
        return "yes or no" if bool in kinds else "a text"
    limits: dict[str, Any] = {}
    for rule in field.metadata:
        limits |= {
            side: getattr(rule, side) for side in ("ge", "gt", "le", "lt") if getattr(rule, side, None) is not None
        }
    noun = "a whole number" if int in kinds else "a number"
    if "ge" in limits and "le" in limits:
        return f"{noun} from {limits['ge']} to {limits['le']}"
    low = f" above {limits['gt']}" if "gt" in limits else f" of at least {limits['ge']}" if "ge" in limits else ""
    return f"{noun}{low}" + (f" and at most {limits['le']}" if "le" in limits else "")
