"""Write docs/requirements.md from pyproject.toml: every dependency with its pin and the reason beside it.

Usage: python docs/requirements.py > docs/requirements.md
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_HEAD = """\
# Requirements

Generated from `pyproject.toml` by `python docs/requirements.py > docs/requirements.md`; a test compares the two.

Python `{python}`. The training stack is pinned exactly, because Unsloth, TRL and transformers change together; the
rest has ranges, and `[tool.uv] exclude-newer` fixes the day up to which releases count, so that two machines
resolve alike. Overrides under `[tool.uv]` do not travel in a wheel: `docs/embed.md` gives a host the lines it needs.
"""

_WHAT = {
    "": "Always installed: what plans, schemas, records and the terminal need.",
    "train": "`prepare_dataset` and `finetune_unsloth`.",
    "export": "`export_gguf` and `export_safetensors`.",
    "eval": "`run_eval`.",
    "s3": "`s3://` sources.",
    "gs": "`gs://` sources.",
    "crew": """\
`tunesmith crew`, `build_crew` and the tools for CrewAI agents. Beside the other extras it is 50 packages more: 150
MB, and about 2.5 s to install with an empty cache and a registry nearby. `[tool.uv]` leaves four of CrewAI's own
requirements away: `lancedb` (memory), `onnxruntime` and `kubernetes` (ChromaDB's embeddings and servers), which with
theirs would be 287 MB and 3.0 s more, and `uv` (37 MB), which who installs this project has. CrewAI imports the first
three for a crew with memory or a knowledge base, and ours has neither.""",
    "anthropic": "A model of Anthropic's as planner; not part of `all`.",
    "gemini": "A model of Google's as planner; not part of `all`.",
    "langchain": "The toolkit for LangChain and LangGraph agents.",
    "mcp": "`tunesmith mcp`.",
    "all": "What works without an account somewhere.",
}


def page(text: str) -> str:
    """The Markdown page for the text of a pyproject.toml.

    Raises:
        ValueError: a requirement has no reason behind it.
    """
    project = tomllib.loads(text)["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    head = text[: text.index("[project.scripts]")]
    commented = re.findall(r'^    "([^"]+)",  # (.+)$', head, flags=re.MULTILINE)
    listed = [requirement for requirements in groups.values() for requirement in requirements]
    if [requirement for requirement, _ in commented] != listed:
        raise ValueError("each requirement in pyproject.toml stands on a line of its own, with its reason behind it")
    reasons = iter(reason for _, reason in commented)
    lines = [_HEAD.format(python=project["requires-python"])]
    for name, requirements in groups.items():
        lines += [f"## {f'Extra `{name}`' if name else 'The core'}", "", _WHAT[name], ""]
        lines += ["| Requirement | Why |", "|---|---|"]
        lines += [f"| `{requirement}` | {next(reasons)} |" for requirement in requirements]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page((ROOT / "pyproject.toml").read_text(encoding="utf-8")), end="")
