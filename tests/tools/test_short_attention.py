"""Attention over short rows on a CPU: another way of torch, the same numbers."""

from contextlib import nullcontext

import torch
from tunesmith.tools.short_attention import SHORT_ROWS, attention_for


def test_long_rows_and_gpus_keep_torchs_own_choice() -> None:
    assert isinstance(attention_for([10, SHORT_ROWS + 1], cpu=True), nullcontext)
    assert isinstance(attention_for([10], cpu=False), nullcontext)


def test_short_rows_give_the_same_values_and_gradients() -> None:
    torch.manual_seed(0)
    found = []
    for lengths in ([SHORT_ROWS], [SHORT_ROWS + 1]):
        q_BHTD = torch.linspace(-1, 1, 2 * 3 * 20 * 8).reshape(2, 3, 20, 8).requires_grad_()
        with attention_for(lengths, cpu=True):
            out = torch.nn.functional.scaled_dot_product_attention(q_BHTD, q_BHTD, q_BHTD.detach(), is_causal=True)
            out.square().sum().backward()
        assert q_BHTD.grad is not None
        found.append((out.detach(), q_BHTD.grad))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)
