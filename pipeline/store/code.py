"""Which definitions a stage is made of, and their digest: `python -m pipeline.store.code pipeline.motion.poses …`.

A stage reaches its function ``build``, every definition that a reached one mentions, and so on.

* A definition binds a name of a module: a function, a class as a whole (``x.method()`` does not tell which class), an
  assigned constant. Its digest covers its syntax tree and what the names in it stand for. Comments, docstrings,
  formatting, the ``description`` of a setting and annotations that are never evaluated are left out.
* A mention is a name, alone or with attributes, anywhere in a definition: body, decorators, defaults, base classes,
  evaluated annotations. Imports are followed wherever they stand, and through modules that pass a name on. A string
  that names a module or ``module:function`` is a mention too: ``python -m``, tables of what is imported late.
* An import executes the module. Its statements that define nothing (calls, loops, conditions, assignments to attributes
  and items) count, and so does a definition that a decorator or a metaclass of this package sees. The blocks of
  ``TYPE_CHECKING`` and ``__main__`` do not. An assignment to a name is taken to have no other effect.
* Where names do not tell what is reached, the whole module counts: a module as a value (``getattr(module, name)``), one
  that a string names, ``from module import *``, ``globals()``, ``eval``, a name that nothing binds. With ``importlib``,
  and where a class looks for its subclasses, every module of the folder counts.
* Plumbing is left out. So are data files: the rules list them as inputs.

Only the standard library is imported here: the Snakefile calls this while it is parsed.
"""

from __future__ import annotations

import ast
import builtins
import functools
import gc
import hashlib
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.store.definitions import Chain, Reader, bindings, executed

PACKAGE = Path(__file__).resolve().parent.parent
PROJECT = PACKAGE.parent

# Plumbing: it moves results but cannot change them; a change of format is told by the schema version instead.
PLUMBING = tuple(
    f"pipeline.{name}"
    for name in (
        "store",
        "jobs",
        "inspection",
        "config",
        "cli",
        "rules",
        "settings",
        "methods.registry",
        "methods.models",
    )
)

# Names of a module that are no definitions: its statements, what it does as a command, all of it, all below a package.
STATEMENTS, MAIN, ALL, BELOW = "<statements>", "<main>", "*", "**"
_ENTRY = "build"
_BUILTINS = {*dir(builtins), "__file__", "__path__", "__class__", "__annotations__", "__module__", "__qualname__"}
_NAMESPACE = {"globals", "eval", "exec"}
_LATE_IMPORTS = re.compile(r"(importlib(?!\.(metadata|resources)\b)|pkgutil|runpy|sys\.modules|__import__)(\.|$)")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass
class _Module:
    """What a module binds and does.

    Attributes:
        parent: the package around it, itself if it is one.
        lazy: whether its annotations stay unevaluated.
        definitions: name → the statements that define it.
        imports: name → (module, attribute or nothing) that it may stand for.
        bound: names that other statements bind.
        unread: names that only type checkers see.
        registered: definitions that a decorator or a metaclass sees when the module is imported.
        executed: modules that it imports.
    """

    name: str
    parent: str
    lazy: bool = False
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    registered: list[ast.stmt] = field(default_factory=list)
    executed: set[str] = field(default_factory=set)
    statements: list[ast.stmt] = field(default_factory=list)
    main: list[ast.stmt] = field(default_factory=list)

    def take(self, statement: ast.stmt) -> None:
        """Put a statement of the module where it belongs."""
        match statement:
            case ast.Import() | ast.ImportFrom():
                self._take_import(statement)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._define([statement.name], statement)
                if statement.decorator_list or getattr(statement, "keywords", ()):
                    self.registered.append(statement)
            case ast.Assign(targets=targets) if (names := _plain_names(targets)) is not None:
                self._define(names, statement)
            case ast.AnnAssign(target=ast.Name(id=name)):
                if statement.value is not None:
                    self._define([name], statement)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                self.unread |= _names_bound(statement.body)
                for other in statement.orelse:
                    self.take(other)
            case ast.If(test=test, orelse=[]) if ast.unparse(test) == "__name__ == '__main__'":
                self.main.append(statement)
            case _ if statement.__class__.__name__ == "TypeAlias":  # Python 3.12
                self._define([statement.name.id], statement)
            case _:
                self.statements.append(statement)
                self.bound |= _names_bound([statement])
                for node in ast.walk(statement):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        self._take_import(node)

    def _define(self, names: list[str], statement: ast.stmt) -> None:
        for name in names:
            self.definitions.setdefault(name, []).append(statement)

    def _take_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        self.executed |= executed(statement, self.parent)
        for name, module, attribute in bindings(statement, self.parent):
            self.lazy |= (module, name) == ("__future__", "annotations")
            self.imports.setdefault(name, []).append((module, attribute))


def _plain_names(targets: Iterable[ast.expr]) -> list[str] | None:
    """Names that an assignment binds; None if it does something else too."""
    names: list[str] = []
    for target in targets:
        match target:
            case ast.Name(id=name):
                names.append(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if (inner := _plain_names(parts)) is not None:
                names += inner
            case ast.Starred(value=ast.Name(id=name)):
                names.append(name)
            case _:
                return None
    return names


def _names_bound(statements: Iterable[ast.stmt]) -> set[str]:
    """Names that statements may bind in the module, and some that they bind elsewhere."""
    found: set[str] = set()
    for node in (node for statement in statements for node in ast.walk(statement)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
    return found


# Names that are being resolved.
_Way = frozenset[tuple[str, Chain]]


class Package:
    """The definitions of a package and what they mention; every file is read once.

    A definition is named ``module:name``. A name without a colon is that of a library: it is part of the digest of what
    mentions it, and is not followed.
    """

    def __init__(self, folder: Path, plumbing: Iterable[str] = ()):
        self.name, self.folder, self.plumbing = folder.name, folder, tuple(plumbing)
        word = r"[^\W\d]\w*"
        self._naming = re.compile(rf"^{self.name}\.$|(?<![\w./]){self.name}(?:\.{word})+(?::{word}|\.$)?")
        self._modules: dict[str, _Module] = {}
        self._files: dict[str, Path | None] = {}
        self._meant: dict[tuple[str, Chain], set[str]] = {}
        self._nodes: dict[str, tuple[str, set[str]]] = {}

    # ------------------------------------------------------------------------------------------------------- modules

    def file_of(self, module: str) -> Path | None:
        """Source of a module; None if there is none."""
        if module not in self._files:
            first, *rest = module.split(".")
            base = self.folder.joinpath(*rest)
            found = (base.with_suffix(".py") if rest else None, base / "__init__.py")
            own = first == self.name and all(rest)
            self._files[module] = next((path for path in found if own and path and path.is_file()), None)
        return self._files[module]

    def _exists(self, module: str) -> bool:
        """Whether it is a module, or a folder of some."""
        first, *rest = module.split(".")
        return self.file_of(module) is not None or (
            first == self.name and all(rest) and self.folder.joinpath(*rest).is_dir()
        )

    def _is_plumbing(self, module: str) -> bool:
        return any(module == part or module.startswith(f"{part}.") for part in self.plumbing)

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            path = self.file_of(name)
            is_package = path is None or path.name == "__init__.py"
            module = self._modules[name] = _Module(name, name if is_package else name.rpartition(".")[0])
            for statement in ast.parse(path.read_bytes(), path).body if path else ():
                module.take(statement)
        return self._modules[name]

    def _executed(self, modules: Iterable[str]) -> set[str]:
        """Statements that run when modules are imported: theirs, and those of the packages around them."""
        found = set()
        for module in modules:
            while module and self.file_of(module) and not self._is_plumbing(module):
                found.add(f"{module}:{STATEMENTS}")
                module = module.rpartition(".")[0]
        return found

    # --------------------------------------------------------------------------------------------------------- names

    def _global(self, module: _Module, chain: Chain, on_the_way: _Way = frozenset()) -> set[str] | None:
        """What a dotted name stands for inside a module; None if nothing binds it there."""
        name, rest = chain[0], chain[1:]
        found = set()
        if name in module.definitions:
            found.add(f"{module.name}:{name}")
        if name in module.bound:
            found.add(f"{module.name}:{STATEMENTS}")
        for target, attribute in module.imports.get(name, ()):
            found |= self._member(target, (attribute, *rest) if attribute else rest, on_the_way)
        return found if found or name in module.imports else None

    def _member(self, module: str, chain: Chain, on_the_way: _Way = frozenset()) -> set[str]:
        """What a dotted name stands for that begins with a module.

        Modules may import a name from each other. An answer that was cut short for it must not be kept: digests would
        depend on which stage is asked for first.
        """
        if not self._exists(module):
            return {".".join((module, *chain))}
        if self._is_plumbing(module):
            return set()
        if not chain:
            return {f"{module}:{ALL}"}
        key = (module, chain)
        if key in on_the_way:
            return set()
        if key in self._meant:
            return self._meant[key]
        found = self._global(self._module(module), chain, on_the_way | {key})
        below = f"{module}.{chain[0]}"
        if self._exists(below):
            found = (found or set()) | self._member(below, chain[1:], on_the_way | {key})
        if found is None:
            found = {f"{module}:{ALL}"}
        if not on_the_way:
            self._meant[key] = found
        return found

    def _named(self, text: str) -> set[str]:
        """What the words of a string name."""
        found = set()
        for word in self._naming.findall(text):
            module, _, function = word.partition(":")
            if word.endswith("."):  # the rest is put there later
                module = module[:-1]
                found.add(f"{module}:{BELOW}")
            rest: Chain = (function,) if function else ()
            while not self._exists(module):
                module, _, last = module.rpartition(".")
                rest = (last, *rest)
            found |= self._member(module, rest) if module != self.name else set()
        return found

    # --------------------------------------------------------------------------------------------------- definitions

    def _read(self, module: _Module, statements: list[ast.stmt]) -> tuple[str, set[str]]:
        """Digest of statements, and the definitions that they mention."""
        reader = Reader(self.name, module.parent, module.lazy)
        text = reader.read(statements)
        known = _BUILTINS | module.unread | reader.optional
        meant = {string: self._named(string) for string in reader.strings}
        meant |= {".".join((target, *chain)): self._member(target, chain) for target, chain in reader.absolute}
        for chain in reader.loads:
            found = self._global(module, chain)
            if found is None:
                is_known = chain[0] in known and chain[0] not in _NAMESPACE
                found = {chain[0]} if is_known else {f"{module.name}:{ALL}"}
            meant[".".join(chain)] = found
        found = set().union(*meant.values())
        if reader.finds_subclasses or any(map(_LATE_IMPORTS.match, found)):
            found |= {f"{module.name}:{ALL}", f"{module.parent}:{BELOW}"}
        lines = [f"{name}={','.join(sorted(meant[name]))}" for name in sorted(meant)]
        return _digest("\n".join([text, *lines])), {n for n in found if ":" in n} | self._executed(reader.executed)

    def _is_registered(self, module: _Module, statement: ast.stmt) -> bool:
        """Whether something of this package sees a definition when its module is imported."""
        for value in (*statement.decorator_list, *getattr(statement, "keywords", ())):
            reader = Reader(self.name, module.parent, True)
            reader.read([ast.Expr(value.value if isinstance(value, ast.keyword) else value)])
            if any(":" in name for chain in reader.loads for name in self._global(module, chain) or ()):
                return True
        return False

    def _node(self, node: str) -> tuple[str, set[str]]:
        """Digest of a definition, empty where it is none, and what it reaches at once."""
        if node not in self._nodes:
            self._nodes[node] = self._made(*node.split(":"))
        return self._nodes[node]

    def _made(self, module_name: str, name: str) -> tuple[str, set[str]]:
        if name == BELOW:
            return "", {f"{module}:{ALL}" for module in self._below(module_name) if not self._is_plumbing(module)}
        module = self._module(module_name)
        if name == ALL:
            names = {f"{module_name}:{part}" for part in (*module.definitions, STATEMENTS, MAIN)}
            passed_on = set().union(*(self._global(module, (part,)) for part in module.imports))
            return "", names | {name for name in passed_on if ":" in name}
        if name == STATEMENTS:
            digest, mentioned = self._read(module, module.statements) if module.statements else ("", set())
            mentioned |= self._executed({module_name, *module.executed})
            mentioned |= {f"{module_name}:{s.name}" for s in module.registered if self._is_registered(module, s)}
            stars = self._global(module, ("*",)) or set()
            return digest, mentioned | {name for name in stars if ":" in name}
        statements = module.main
        if name != MAIN:  # it is read once; trees take much memory
            statements, module.definitions[name] = module.definitions[name], []
        digest, mentioned = self._read(module, statements) if statements else ("", set())
        return digest, mentioned | {f"{module_name}:{STATEMENTS}"}

    def _below(self, package: str) -> Iterator[str]:
        """The modules of a package and of those inside it."""
        folder = self.folder.joinpath(*package.split(".")[1:])
        for path in folder.rglob("*.py"):
            parts = path.relative_to(self.folder.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    # -------------------------------------------------------------------------------------------------------- stages

    def definition_digests(self, entry: str) -> dict[str, str]:
        """See the function of this name."""
        module, _, name = entry.partition(":")
        if self.file_of(module) is None:
            raise ModuleNotFoundError(f"there is no module {module}")
        known = self._module(module).definitions
        if name and name not in known:
            raise ModuleNotFoundError(f"{module} defines no {name}")
        waiting = {f"{module}:{name or (_ENTRY if _ENTRY in known else ALL)}"}
        seen: set[str] = set()
        # To search the trees for garbage, again and again, would take as long as to make them.
        collects = gc.isenabled()
        gc.disable()
        try:
            while waiting:
                node = waiting.pop()
                seen.add(node)
                waiting |= self._node(node)[1] - seen
        finally:
            if collects:
                gc.enable()
        return {node: digest for node in sorted(seen) if (digest := self._node(node)[0])}

    def code_digest(self, entry: str) -> str:
        """See the function of this name."""
        return _digest("\n".join(f"{name} {digest}" for name, digest in self.definition_digests(entry).items()))


@functools.cache
def _own() -> Package:
    return Package(PACKAGE, PLUMBING)


def definition_digests(entry: str) -> dict[str, str]:
    """Digest of each definition behind `code_digest`, by ``module:name``: what tells which one has changed.

    Raises:
        ModuleNotFoundError: there is no such stage.
    """
    return _own().definition_digests(entry)


@functools.cache
def recorded_definitions(entry: str) -> dict[str, dict[str, str]]:
    """`definition_digests` as artifacts record them: module → name → the first half of the digest."""
    found: dict[str, dict[str, str]] = {}
    for definition, digest in definition_digests(entry).items():
        module, _, name = definition.partition(":")
        found.setdefault(module, {})[name] = digest[:8]
    return found


@functools.cache
def code_digest(entry: str) -> str:
    """Digest of the code of a stage: 16 hexadecimal digits, the same wherever the project lies.

    Args:
        entry: a module, for its ``build`` (or all of it, where it has none), or ``module:function``.

    Raises:
        ModuleNotFoundError: there is no such stage.
    """
    return _own().code_digest(entry)


def path_of(module: str) -> str:
    """Path of a module's source from the project, also of one that is gone."""
    path = _own().file_of(module)
    return path.relative_to(PROJECT).as_posix() if path else f"{module.replace('.', '/')}.py"


def main(entries: list[str]) -> None:
    """Print digest and number of definitions of stages."""
    started = time.process_time()
    for entry in entries:
        print(f"{code_digest(entry)} {len(definition_digests(entry)):5} {entry}")
    print(f"{1000 * (time.process_time() - started):.0f} ms", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
