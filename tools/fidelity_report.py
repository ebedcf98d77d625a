"""What the fidelity chain found: links, prompts, a verdict; as a tool's result and as a JSON file."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .artifacts import write_json
from .base import Result

__all__ = ["Fidelity", "Link", "PromptCheck", "report_file", "write_fidelity"]


class Link(BaseModel):
    """Two neighbouring forms of the model. Divergences in nats; None where the link was not computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: str
    after: str
    verdict: Literal["sound", "broken", "not checked"]
    mean_kl: float | None = None
    max_kl: float | None = None
    agreement: float | None = Field(default=None, description="share of positions with the same most probable token")
    limit: float | None = Field(default=None, description="mean KL that the link may have")
    reason: str = ""
    by_rounding: bool = Field(default=False, description="whether what is lost is the price of fewer bits a weight")

    @property
    def name(self) -> str:
        return f"{self.before} -> {self.after}"


class PromptCheck(BaseModel):
    """One conversation. `sides` are those that were compared; `reason` tells what differs or was not compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: str
    verdict: Literal["same", "different", "not checked"]
    sides: list[str]
    reason: str


class Fidelity(Result):
    """What was found. `sound` means that no link that was checked is broken and no prompt differs."""

    target: str
    sound: bool
    links: list[Link]
    prompts: list[PromptCheck]
    positions: int = Field(description="next-token distributions compared in each link")
    remarks: list[str]
    sha256: str | None = Field(description="of the GGUF file; None for a run")
    seconds: float

    def broken(self) -> list[str]:
        """One sentence for each link that is broken and each prompt that differs."""
        return self._sentences([link for link in self.links if link.verdict == "broken"])

    def damage(self) -> list[str]:
        """What is broken beyond the price of few bits a weight, one sentence each."""
        return self._sentences([link for link in self.links if link.verdict == "broken" and not link.by_rounding])

    def _sentences(self, links: list[Link]) -> list[str]:
        prompts = [f"prompt, {p.conversation}: {p.reason}" for p in self.prompts if p.verdict == "different"]
        return [f"{link.name}: {link.reason}" for link in links] + prompts

    def summary(self) -> str:
        checked = sum(link.verdict != "not checked" for link in self.links)
        if self.sound:
            return f"{self.target}: sound, {checked} of {len(self.links)} links checked"
        return f"{self.target}: broken\n" + "\n".join(self.broken())


def report_file(target: Path) -> Path:
    """Where the report about a run folder or a GGUF file lies.

    >>> report_file(Path("models/x.gguf")).as_posix()
    'models/x.verify.json'
    """
    return target / "verify.json" if target.is_dir() else target.with_name(f"{target.stem}.verify.json")


def write_fidelity(found: Fidelity, path: Path) -> None:
    """Write the report as JSON; an earlier one of that name is replaced."""
    write_json(path, found.model_dump(mode="json"))
