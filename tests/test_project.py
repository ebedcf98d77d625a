"""What holds for the project as a whole: layers, light imports, packaging, documents made from code."""

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [folder for folder in ("agent", "tools", "prompts") if (ROOT / folder).is_dir()]
SOURCES = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = {
    "torch",
    "transformers",
    "unsloth",
    "trl",
    "peft",
    "datasets",
    "bitsandbytes",
    "lm_eval",
    "crewai",
    "numpy",
    "pyarrow",
    "gguf",
    "xllamacpp",
    "auto_round",
    "matplotlib",
    "fsspec",
    "pandas",
    "huggingface_hub",
    "tokenizers",
    "safetensors",
    "jinja2",
}
FRAMEWORKS = {"crewai", "langchain_core", "langchain", "langgraph", "mcp"}
CREWAI_AT_THE_TOP = {"agent/crew.py", "tools/adapters/crewai.py"}  # classes of its own; loaded by those who want a crew
TOOL_MODULES = {"prepare_dataset", "finetune_unsloth", "export_gguf", "export_safetensors", "run_eval"}


def imports_of(path: Path, *, top_level_only: bool = False) -> list[str]:
    """Absolute names of what a module imports; relative ones are resolved inside `tunesmith`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ["tunesmith", *path.relative_to(ROOT).parts[:-1]]
    found = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                start = package[: len(package) - child.level + 1] if child.level else []
                base = ".".join([*start, *(child.module.split(".") if child.module else [])])
                found.append(base)
                found.extend(f"{base}.{alias.name}" for alias in child.names)
            elif (top_level_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)) or (
                top_level_only and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            ):
                continue
            visit(child)

    visit(tree)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_hold_and_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    own_place = path.relative_to(ROOT).as_posix() in CREWAI_AT_THE_TOP
    heavy = {name.split(".")[0] for name in imports_of(path, top_level_only=True)} & HEAVY
    heavy -= {"crewai"} if own_place else set()
    assert not heavy, f"imported at the top of the module: {sorted(heavy)}"
    imported = imports_of(path)
    if path.is_relative_to(ROOT / "tools"):
        assert not [name for name in imported if name.startswith("tunesmith.agent")]
    if path.parent == ROOT / "tools" and path.stem in TOOL_MODULES:
        others = {f"tunesmith.tools.{name}" for name in TOOL_MODULES - {path.stem}}
        assert not others & set(imported), "a tool imports another tool"
    if "adapters" not in path.parts and path.stem not in ("crew", "mcp_server", "model_call"):
        frameworks = {name for name in imported if name.split(".")[0] in FRAMEWORKS}
        assert not frameworks
    crewai = {name for name in imported if name.split(".")[0] == "crewai"}
    assert own_place or path.stem == "model_call" or not crewai, "CrewAI belongs to the crew and to chat models"


def loaded_by(code: str) -> set[str]:
    """Top-level names in sys.modules after running `code` in a fresh interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return {name.split(".")[0] for name in json.loads(output.splitlines()[-1])}


def test_importing_the_package_loads_nothing_but_itself() -> None:
    assert not loaded_by("import tunesmith") & (HEAVY | {"pydantic", "rich"})


def test_planning_loads_nothing_heavy() -> None:
    code = "from tunesmith.agent.cli import main; main(['plan', '--json', 'train smollm2-135m on rows.jsonl'])"
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("folder", ["agent", "tools"])
def test_agent_and_tools_refuse_to_be_imported_under_their_bare_names(folder: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {folder}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"this folder is the package `tunesmith.{folder}`" in done.stderr


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = set(PYPROJECT["tool"]["setuptools"]["packages"])
    present = {"tunesmith"} | {
        ".".join(["tunesmith", *path.parent.relative_to(ROOT).parts])
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert listed == present


def test_the_wheel_holds_the_contract_the_examples_the_prompts_and_every_module(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("__init__.py", "agents.md", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for folder in (*PACKAGES, "examples", "planner"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True)
    (wheel,) = tmp_path.glob("tunesmith-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"tunesmith/{path.relative_to(ROOT).as_posix()}" for path in SOURCES}
    expected |= {"tunesmith/__init__.py", "tunesmith/agents.md", "tunesmith/examples/tickets.jsonl"}
    expected |= {f"tunesmith/prompts/{path.name}" for path in (ROOT / "prompts").glob("*.*")}
    for folder in ("agent/lessons", "agent/glossaries", "planner"):
        files = [path for path in (ROOT / folder).iterdir() if path.suffix in (".toml", ".gguf", ".json")]
        assert files, folder
        expected |= {f"tunesmith/{folder}/{path.name}" for path in files}
    assert expected <= names


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_requirements_page_is_the_one_that_pyproject_gives() -> None:
    expected = script("requirements").page((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8") == expected


def test_the_parameter_tables_are_those_of_the_input_models() -> None:
    text = (ROOT / "docs" / "tech_implementation.md").read_text(encoding="utf-8")
    assert script("parameters").page(text) == text


def test_the_readme_stays_short_and_starts_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    commands = [line.strip() for line in text.splitlines() if line.strip().startswith("pip install uv &&")]
    assert commands == [
        'pip install uv && uv run tunesmith -y "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, '
        'export q4_k_m and evaluate it"',
        "pip install uv && uv run pytest",
    ]
