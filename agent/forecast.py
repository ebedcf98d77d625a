"""What the exports of a plan will weigh, from the shapes of the models: nothing is fetched and no weight is read."""

from .plan import Plan, Step

__all__ = ["export_bytes", "models_of"]

_WRITES = {"finetune_unsloth": ("output_dir", "base_model"), "export_safetensors": ("output_dir", "checkpoint_dir")}
"""Tool -> the parameter that names the model it writes, and the one that names the model it starts from."""


def models_of(plan: Plan) -> dict[str, str]:
    """Folder that a step of the plan writes a model to -> the model it is made from, in the plan's own words."""
    found: dict[str, str] = {}
    for step in plan.steps:
        if step.tool in _WRITES:
            written, read = (str(step.args.get(name)) for name in _WRITES[step.tool])
            found[written] = found.get(read, read)
    return found


def export_bytes(step: Step, models: dict[str, str]) -> int | None:
    """Size of the GGUF file that a step writes; None for another step, or where the model's shapes are not known.

    Args:
        models: of `models_of`; a checkpoint that an earlier step makes has the shapes of that step's model.
    """
    if step.tool != "export_gguf":
        return None
    from tunesmith.tools.size_forecast import forecast_bytes

    checkpoint = str(step.args["checkpoint_dir"])
    kind, matrix = str(step.args["quantization"]), bool(step.args.get("imatrix"))
    return forecast_bytes(models.get(checkpoint, checkpoint), kind, importance=matrix)
