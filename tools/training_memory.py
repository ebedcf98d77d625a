"""How much memory a training step needs beside the weights, and what is done to need less."""

import ctypes
import sys
from typing import Any

__all__ = ["activation_bytes", "headroom", "needs_recomputation", "peak_memory_gib", "return_free_memory"]

_SHARE = 0.35
"""Activations may take this share of the free memory before they are computed twice instead of kept."""


def activation_bytes(config: dict[str, Any], tokens: int) -> int:
    """Memory that the activations of one step take when they are kept for the gradients.

    Each layer keeps some 8 values per hidden unit and 5 per inner unit of its MLP, in 2 bytes; freed and reserved
    blocks take about as much again. Measured with SmolLM2-135M and LoRA on every linear layer: 0.73 MB per token
    kept, 1.5 MB with what the allocator reserves.

    Args:
        config: of the model, as in config.json.
        tokens: in one step, padding included.
    """
    text = config.get("text_config") or config
    hidden, inner = int(text["hidden_size"]), int(text.get("intermediate_size") or 4 * text["hidden_size"])
    return 2 * tokens * int(text["num_hidden_layers"]) * 2 * (8 * hidden + 5 * inner)


def needs_recomputation(config: dict[str, Any], tokens: int) -> bool:
    """Whether a step of so many tokens is too large to keep its activations in this machine's free memory."""
    import psutil

    return activation_bytes(config, tokens) > _SHARE * psutil.virtual_memory().available


def return_free_memory() -> None:
    """Give freed blocks back to the system, where the C library can (glibc).

    Batches of ever new lengths leave holes that the next tensors do not fit; without this a run of 68 steps grew
    by a third.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def peak_memory_gib(*, cuda: bool) -> float:
    """Most memory that this process (on a GPU: the device, for it) held at once."""
    if cuda:
        import torch

        return float(torch.cuda.max_memory_allocated()) / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # what getrusage counts in
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit) / 2**30


def headroom(*, cuda: bool) -> tuple[float, float]:
    """Memory that another step like the largest so far asks for beyond what is held now, and what is free, in GiB."""
    if cuda:
        import torch

        held = torch.cuda.memory_allocated()
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - held
    else:
        import psutil

        held, free = psutil.Process().memory_info().rss, psutil.virtual_memory().available
    return max(peak_memory_gib(cuda=cuda) - held / 2**30, 0.0), free / 2**30
