"""An importance matrix is asked for in several words, and kept apart from the type that it serves."""

import pytest
from conversing import converse
from tunesmith.agent.plan import Plan


def _matrices(plan: Plan) -> list[bool]:
    return [step.args["imatrix"] for step in plan.steps if step.tool == "export_gguf" and not step.reuse]


@pytest.mark.parametrize(
    "text",
    [
        "export runs/faq as q4_k_m with imatrix",
        "export runs/faq as q3_k_m with an importance matrix",
        "export runs/faq, use an importance matrix, q2_k",
        "quantise runs/faq to q4_k_m using the imatrix",
        "quantize runs/faq to q4_k_m, imatrix=yes",
        "quantize runs/faq to q4_k_m with imatrix: true",
        "convert runs/faq to an imatrix q4_k_m",
        "tune smollm2-135m on faq.csv and export q4_k_m with importance weights",
        "tune smollm2-135m on faq.csv and make an importance-weighted q4_k_m gguf",
    ],
)
def test_an_importance_matrix_is_asked_for(text: str) -> None:
    plan = converse(text)
    assert _matrices(plan) == [True], plan.reply
    (step,) = [step for step in plan.steps if step.tool == "export_gguf"]
    assert step.origin["imatrix"] == "you"


@pytest.mark.parametrize(
    "text",
    [
        "export runs/faq as q4_k_m",
        "export runs/faq as q4_k_m without imatrix",
        "export runs/faq as q4_k_m, no importance matrix",
        "export runs/faq as q4_k_m, imatrix=no",
        "export runs/faq as q4_k_m, imatrix off",
    ],
)
def test_without_the_wish_there_is_none(text: str) -> None:
    assert _matrices(converse(text)) == [False]


def test_every_export_of_the_request_gets_it() -> None:
    assert _matrices(converse("tune smollm2-135m on faq.csv, then q4_k_m and q2_k with imatrix")) == [True, True]


def test_a_follow_up_asks_for_it_and_trains_nothing_anew() -> None:
    first = "tune smollm2-135m on faq.csv and export q3_k_m"
    plan = converse(first, "now with an importance matrix")
    assert _matrices(plan) == [True], plan.reply
    assert [step.tool for step in plan.steps if not step.reuse] == ["export_gguf"]
