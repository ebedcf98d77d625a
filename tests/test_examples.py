"""Every example runs, and gives what it says: docstrings, and the Python and shell blocks of README and guides."""

import doctest
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tunesmith.agent
import tunesmith.tools

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    module.name
    for package in (tunesmith.agent, tunesmith.tools)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(language, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, (language, code) in enumerate(
        re.findall(r"^```(python|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE), 1
    )
]


def test_the_readme_shows_each_way_in_in_ten_lines_at_most() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [code for _, code in re.findall(r"^```(python|sh)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)]
    for way in ("| tunesmith", "Session()", "TunesmithToolkit()", '"mcp"'):
        (block,) = [code for code in blocks if way in code]
        assert len([line for line in block.splitlines() if line]) <= 10


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_the_blocks_in_readme_and_guides_run_as_written(language: str, code: str, workdir: Path) -> None:
    shutil.copytree(ROOT / "examples", workdir / "examples")
    command = [sys.executable, "-P", "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
