"""Conversations with the planner, read without a disk and without a network."""

from typing import Any

from tunesmith.agent.plan import History, Plan, Ran
from tunesmith.agent.planner import RulesPlanner

__all__ = ["argument", "converse", "running"]


def converse(*turns: str, finished: bool = True) -> Plan:
    """The plan for the last turn; the plans of the earlier ones have run, or nothing of them."""
    history, plan = History(), Plan("")
    for turn in turns:
        plan = RulesPlanner(look_at_disk=False).plan(turn, history)
        history = History((*history.ran, Ran(plan, finished=len(plan.steps) if finished else 0)))
    return plan


def running(plan: Plan) -> list[str]:
    """The tools of the steps that are to run."""
    return [step.tool for step in plan.steps if not step.reuse]


def argument(plan: Plan, tool: str, name: str) -> list[Any]:
    """A parameter's values in the steps of a tool that are to run."""
    return [step.args.get(name) for step in plan.steps if step.tool == tool and not step.reuse]
