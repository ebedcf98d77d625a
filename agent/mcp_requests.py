"""The MCP server's own tools beside those of the contract: their arguments, descriptions, and which of them act."""

from typing import Any

from pydantic import Field, ValidationError
from tunesmith.tools.base import BadRequest, ToolInput

__all__ = [
    "ACTING",
    "OWN_TOOLS",
    "CancelRequest",
    "PlanRequest",
    "RunRequest",
    "StatusRequest",
    "read_request",
]

_WAIT = "answer at the end of the job, or after this time with the state so far"


class PlanRequest(ToolInput):
    request: str = Field(min_length=1, description="what to do, in plain words, or a change of the last plan")


class RunRequest(ToolInput):
    plan_hash: str = Field(description="the hash of a plan that the user has seen and approved")
    wait_seconds: float = Field(default=20, ge=0, le=3600, description=_WAIT)


class StatusRequest(ToolInput):
    job: str | None = Field(default=None, description="id of a job; all jobs of this server without one")
    wait_seconds: float = Field(default=0, ge=0, le=3600, description=_WAIT)


class CancelRequest(ToolInput):
    job: str = Field(description="id of a job")


OWN_TOOLS: dict[str, tuple[type[ToolInput], str]] = {
    "plan": (
        PlanRequest,
        "Turn a request in plain words, or a change of the last plan, into a plan of typed steps. Runs nothing: "
        "answers with the plan and its hash, a question, or a refusal.",
    ),
    "run": (RunRequest, "Start a plan that was shown, by its hash, as a job. Files are never overwritten."),
    "status": (
        StatusRequest,
        "Tell how a job is doing: waiting, running, done, failed or cancelled, with its results.",
    ),
    "cancel": (CancelRequest, "End a job. It saves its state, and `run` with the same hash goes on from there."),
}
"""Name -> arguments and description."""

ACTING = ("run", "cancel")
"""Those that do something, which a person should be asked about; all others only read."""


def read_request(name: str, arguments: dict[str, Any]) -> ToolInput:
    """Check the arguments of one of these tools.

    Raises:
        BadRequest: one sentence that names every wrong argument.
    """
    try:
        return OWN_TOOLS[name][0].model_validate(arguments)
    except ValidationError as error:
        problems = [f"`{'.'.join(map(str, one['loc'])) or name}`: {one['msg']}" for one in error.errors()]
        raise BadRequest(f"{name}: {'; '.join(problems)}") from error
