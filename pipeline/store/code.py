"""Which source files a stage is made of, and their digest.

Snakemake does not see imported package code, so every rule lists these files as inputs; artifacts record the digest.
Only the standard library is imported here: the Snakefile calls this while it is parsed.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PROJECT = PACKAGE.parent

# Plumbing: it moves results but cannot change them; a change of format is told by the schema version instead.
PLUMBING = tuple(f"pipeline.{name}" for name in ("store", "jobs", "inspection", "config", "cli"))


def path_of(module: str) -> str:
    """Path of a module's source from the project, also of one that is gone."""
    path = _file_of(module)
    return path.relative_to(PROJECT).as_posix() if path else f"{module.replace('.', '/')}.py"


def _file_of(module: str) -> Path | None:
    base = PROJECT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. Imports are statements, and to skip expressions takes a third of the time."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, name, ()):
            yield statement
            yield from _statements(statement)


@functools.cache
def _imports(module: str) -> frozenset[str]:
    path = _file_of(module)
    if path is None:
        return frozenset()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in _statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] == "pipeline" and _file_of(name))


def _is_plumbing(module: str) -> bool:
    return module == "pipeline" or any(module == p or module.startswith(p + ".") for p in PLUMBING)


@functools.cache
def modules_of(stage_module: str) -> tuple[str, ...]:
    """The stage's module and every module of this package that it imports, directly or not, without the plumbing."""
    seen: set[str] = set()
    waiting = [stage_module]
    while waiting:
        module = waiting.pop()
        if module in seen or _is_plumbing(module):
            continue
        seen.add(module)
        waiting.extend(_imports(module))
    return tuple(sorted(seen))


def files_of(stage_module: str) -> list[str]:
    """Source files behind `modules_of`.

    Raises:
        ModuleNotFoundError: there is no such stage module.
    """
    if _file_of(stage_module) is None:
        raise ModuleNotFoundError(stage_module)
    return [str(_file_of(module)) for module in modules_of(stage_module)]


@functools.cache
def code_digest(stage_module: str) -> str:
    """Digest of the stage's source: 16 hexadecimal digits, the same wherever the project lies."""
    digest = hashlib.blake2b(digest_size=8)
    for module, path in zip(modules_of(stage_module), files_of(stage_module), strict=True):
        digest.update(module.encode() + b"\0" + Path(path).read_bytes() + b"\0")
    return digest.hexdigest()


def file_digests(stage_module: str) -> dict[str, str]:
    """Digest of each module behind `code_digest`: what tells which file has changed."""
    return {
        module: hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()
        for module, path in zip(modules_of(stage_module), files_of(stage_module), strict=True)
    }
