"""No import leads upward, and folders form no cycle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

# From below; what stands in one line does not import each other.
LAYERS = (
    ("settings", "store"),
    ("jobs",),
    ("learning", "encoding"),
    ("demo",),
    ("data",),
    ("exchange",),
    ("motion", "context", "backbone"),
    ("graphs",),
    ("methods",),
    ("config",),
    ("rules",),
    ("inspection", "ablations", "explorer"),
    ("commands",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# A floor's declarations, settings and tables of readers may look at a neighbour's: they are data, without code.
DATA = ("stages", "settings")


def layer_of(module: str) -> str:
    """``pipeline.motion.pose.tracks`` is of `motion`; commands and comparisons stand above what they call."""
    parts = module.split(".")
    if parts[-1] == "commands" or "comparisons" in parts or module == "pipeline.context.convert":
        return "commands"
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path, project: Path) -> set[str]:
    """Modules of the package that a source imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = project.joinpath(*node.module.split("."), alias.name)
                is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("pipeline.")}


def violations(project: Path) -> list[str]:
    found = []
    for path in sorted((project / "pipeline").rglob("*.py")):
        module = ".".join(path.relative_to(project).with_suffix("").parts).removesuffix(".__init__")
        own = layer_of(module)
        for other in sorted(imports(path, project)):
            target = layer_of(other)
            if not own or not target or own == target:
                continue
            if RANK[target] > RANK[own]:
                found.append(f"{module} imports {other}: upward")
            elif RANK[target] == RANK[own] and other.rpartition(".")[2] not in DATA:
                found.append(f"{module} imports {other}: a neighbour")
    return found


def test_imports_lead_downward(project):
    assert violations(project) == []


def test_methods_do_not_import_each_other(project):
    for path in (project / "pipeline" / "methods").glob("*/**/*.py"):
        own = path.relative_to(project / "pipeline" / "methods").parts[0]
        others = [name.split(".") for name in imports(path, project) if name.startswith("pipeline.methods.")]
        folders = {parts[2] for parts in others} - {"registry", "models", "explored", "commands"}
        assert folders <= {own}, path


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("from pipeline.config import load", "pipeline.store.wrong imports pipeline.config: upward"),
        ("def f():\n    import pipeline.rules.graph", "pipeline.store.wrong imports pipeline.rules.graph: upward"),
    ],
)
def test_an_upward_import_is_found(tmp_path, source, words):
    folder = tmp_path / "pipeline" / "store"
    folder.mkdir(parents=True)
    (folder / "wrong.py").write_text(source)
    assert violations(tmp_path) == [words]
