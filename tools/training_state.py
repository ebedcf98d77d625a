"""The state of a training run as plain tensors and JSON values, and back: weights, optimizer, schedule, chance."""

from typing import Any

from .checkpoints import Checkpoint

__all__ = ["capture", "restore", "restore_weights", "set_learning_rate"]


def trained_weights(model: Any) -> dict[str, Any]:
    """The weights that training changes, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def capture(step: int, model: Any, optimizer: Any, scheduler: Any, extra: dict[str, Any]) -> Checkpoint:
    """Copy the whole state after `step` steps; `extra` is kept as it is."""
    import torch

    saved = optimizer.state_dict()
    tensors = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"random/cuda/{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    scalars: dict[str, Any] = {}
    for index, values in saved["state"].items():
        for name, value in values.items():
            if torch.is_tensor(value):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                scalars[f"{index}/{name}"] = value
    schedule = scheduler.state_dict()
    return Checkpoint(
        step,
        {name: _copy(weight) for name, weight in trained_weights(model).items()},
        {name: _copy(tensor) for name, tensor in tensors.items()},
        {
            "extra": extra,
            "optimizer": {"groups": saved["param_groups"], "scalars": scalars},
            "schedule": {name: schedule[name] for name in ("base_lrs", "last_epoch", "_step_count", "_last_lr")},
        },
    )


def _copy(tensor: Any) -> Any:
    return tensor.detach().to("cpu", copy=True).contiguous()


def restore_weights(checkpoint: Checkpoint, model: Any) -> None:
    """Put the trained weights back in place.

    Raises:
        ValueError: the checkpoint holds other weights than this model trains.
    """
    import torch

    weights = trained_weights(model)
    if weights.keys() != checkpoint.model.keys():
        raise ValueError("the checkpoint holds other weights than this model trains")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(checkpoint.model[name])


def restore(checkpoint: Checkpoint, model: Any, optimizer: Any, scheduler: Any) -> None:
    """Put a captured state back in place.

    Raises:
        ValueError: the checkpoint holds other weights than this model trains.
    """
    import torch

    restore_weights(checkpoint, model)
    values: dict[int, dict[str, Any]] = {}
    for name, tensor in checkpoint.optimizer.items():
        if name.startswith("optimizer/"):
            _, index, part = name.split("/")
            values.setdefault(int(index), {})[part] = tensor
    for key, value in checkpoint.state["optimizer"]["scalars"].items():
        index, part = key.split("/")
        values.setdefault(int(index), {})[part] = value
    optimizer.load_state_dict({"state": values, "param_groups": checkpoint.state["optimizer"]["groups"]})
    scheduler.load_state_dict({**scheduler.state_dict(), **checkpoint.state["schedule"]})
    torch.set_rng_state(checkpoint.optimizer["random/cpu"])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            if (state := checkpoint.optimizer.get(f"random/cuda/{number}")) is not None:
                torch.cuda.set_rng_state(state, number)


def set_learning_rate(value: float, optimizer: Any, scheduler: Any) -> None:
    """Give a running schedule another peak; its course from here on is the same."""
    scheduler.base_lrs = [value] * len(scheduler.base_lrs)
    rates = [value * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    scheduler._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = value
        group["lr"] = rate
