"""What a statement says and which names it needs.

The text of a statement is its syntax tree without positions, comments, docstrings and annotations that are never
evaluated. It is the same in every version of Python that can parse the statement.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# A dotted name, in parts: ("np", "linalg", "norm").
Chain = tuple[str, ...]

# They follow from where a node stands, or mean nothing at run time.
_SKIPPED = {"ctx", "kind", "type_comment", "type_ignores"}
# Classes announce themselves to their bases, which then find them without a name.
_FINDS_SUBCLASSES = {"__subclasses__", "__init_subclass__"}
_ARGUMENTS = ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg")
_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {}


@dataclass(slots=True)
class _Scope:
    kind: str
    outer: _Scope | None = None
    loads: set[Chain] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    imports: list[tuple[str, str, str]] = field(default_factory=list)


class Reader:
    """One pass over statements of a module.

    Attributes:
        loads: dotted names that are looked up in the module's namespace.
        absolute: (module, names below it) that imports inside functions stand for.
        executed: modules that these imports execute.
        strings: constants that seem to name a module of the package.
        optional: names that need not be global: attributes of classes, words in quoted annotations.
        finds_subclasses: whether classes are found through their base.
    """

    def __init__(self, package: str, parent: str, lazy: bool):
        """Take the names of the package and of the package around the module, and whether annotations stay unread."""
        self._prefix, self._parent, self._lazy = f"{package}.", parent, lazy
        self._text: list[str] = []
        self._module = self._scope = _Scope("module")
        self._in_annotation = False
        self.absolute: set[tuple[str, Chain]] = set()
        self.executed: set[str] = set()
        self.strings: set[str] = set()
        self.optional: set[str] = set()
        self.finds_subclasses = False

    def read(self, statements: Iterable[ast.stmt]) -> str:
        """Normalised text of the statements."""
        self._value(list(statements))
        return "".join(self._text)

    @property
    def loads(self) -> set[Chain]:
        return self._module.loads

    # ------------------------------------------------------------------------------------------------------ the tree

    def _visit(self, node: ast.AST) -> None:
        special = _SPECIAL.get(node.__class__)
        if special is None:
            self._plain(node)
        else:
            special(self, node)

    def _plain(self, node: ast.AST) -> None:
        cls = node.__class__
        if cls not in _FIELDS:
            _FIELDS[cls] = tuple((name, f" {name}=") for name in cls._fields if name not in _SKIPPED)
        text = self._text
        text.append(f"{cls.__name__}(")
        for name, label in _FIELDS[cls]:
            value = getattr(node, name, None)
            # Newer versions have more fields, which are empty wherever an older one can say the same.
            if value is not None and value != []:
                text.append(label)
                self._value(value)
        text.append(")")

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._visit(value)
        elif isinstance(value, list):
            self._text.append("[")
            for item in value:
                # A constant as a statement does nothing: a docstring, or the dots of an empty body.
                if item.__class__ is not ast.Expr or item.value.__class__ is not ast.Constant:
                    self._value(item)
                    self._text.append(",")
            self._text.append("]")
        else:
            self._text.append(repr(value))

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        self._text.append(repr(value))
        if isinstance(value, str):
            if self._prefix in value:
                self.strings.add(value)
            if self._in_annotation:
                self._quoted(value)

    def _quoted(self, annotation: str) -> None:
        try:
            names = [node.id for node in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(node, ast.Name)]
        except (SyntaxError, ValueError):
            return  # the word of a Literal
        self.optional.update(names)
        self._scope.loads.update((name,) for name in names)

    def _joined(self, node: ast.JoinedStr) -> None:
        # Where literal parts of an f-string are split depends on the version.
        self._text.append("f(")
        literal = ""
        for part in [*node.values, None]:
            if isinstance(part, ast.Constant):
                literal += part.value
                continue
            if literal:
                self._constant(ast.Constant(literal))
                literal = ""
            if part is not None:
                self._visit(part)
        self._text.append(")")

    def _name(self, node: ast.Name) -> None:
        self._text.append(f"Name({node.id})")
        if node.ctx.__class__ is ast.Load:
            self._scope.loads.add((node.id,))
        else:
            self._scope.binds.add(node.id)

    def _call(self, node: ast.Call) -> None:
        # What a setting means, in words, decides as little as a docstring.
        if node.func.__class__ is ast.Name and node.func.id == "Field":
            keywords = [item for item in node.keywords if item.arg != "description"]
            node = ast.Call(node.func, node.args, keywords)
        self._plain(node)

    def _attribute(self, node: ast.Attribute) -> None:
        names, base = [], node
        while base.__class__ is ast.Attribute:
            names.append(base.attr)
            base = base.value
        names.reverse()
        self.finds_subclasses |= not _FINDS_SUBCLASSES.isdisjoint(names)
        self._text.append(f"Attribute({'.'.join(names)} ")
        if base.__class__ is ast.Name:
            self._text.append(base.id)
            self._scope.loads.add((base.id, *names))
        else:
            self._visit(base)
        self._text.append(")")

    # -------------------------------------------------------------------------------------------------------- scopes

    def _enter(self, kind: str) -> None:
        self._scope = _Scope(kind, self._scope)

    def _leave(self) -> None:
        """Hand what is not local to the scope around."""
        scope, self._scope = self._scope, self._scope.outer
        is_class = scope.kind == "class"
        targets: dict[str, list[tuple[str, Chain]]] = {}
        for name, module, attribute in scope.imports:
            targets.setdefault(name, []).append((module, (attribute,) if attribute else ()))
            if is_class or name in scope.globals:  # what is used of it shows elsewhere, under another name
                self.absolute.add(targets[name][-1])
        for chain in scope.loads:
            root = chain[0]
            self.absolute.update((module, (*names, *chain[1:])) for module, names in targets.get(root, ()))
            if root in scope.globals:
                self._module.loads.add(chain)
            elif is_class or (root not in scope.binds and root not in targets):
                self._scope.loads.add(chain)
        if is_class:
            self.optional |= scope.binds | targets.keys()

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._scope.binds.add(node.name)
        self.finds_subclasses |= node.name in _FINDS_SUBCLASSES
        self._text.append(f"{node.__class__.__name__}({node.name} ")
        self._value(node.decorator_list)
        # Decorators may read annotations, evaluated or not.
        annotated = not self._lazy or bool(node.decorator_list)
        self._arguments(node.args, annotated)
        if annotated and node.returns is not None:
            self._annotation(node.returns)
        self._enter("function")
        self._parameters(node)
        self._bind_arguments(node.args)
        self._value(node.body)
        self._leave()
        self._text.append(")")

    def _lambda(self, node: ast.Lambda) -> None:
        self._text.append("Lambda(")
        self._arguments(node.args, False)
        self._enter("function")
        self._bind_arguments(node.args)
        self._visit(node.body)
        self._leave()
        self._text.append(")")

    def _arguments(self, arguments: ast.arguments, annotated: bool) -> None:
        """Names, and what is evaluated around the function: defaults and annotations."""
        for kind in _ARGUMENTS:
            self._text.append(f"{kind}:")
            for argument in _listed(getattr(arguments, kind)):
                self._text.append(f"{argument.arg} ")
                if annotated and argument.annotation is not None:
                    self._annotation(argument.annotation)
        for defaults in (arguments.defaults, arguments.kw_defaults):
            self._value(defaults)

    def _bind_arguments(self, arguments: ast.arguments) -> None:
        for kind in _ARGUMENTS:
            self._scope.binds.update(argument.arg for argument in _listed(getattr(arguments, kind)))

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for parameter in getattr(node, "type_params", ()):
            self.optional.add(parameter.name)
            self._visit(parameter)

    def _class(self, node: ast.ClassDef) -> None:
        self._scope.binds.add(node.name)
        self._text.append(f"ClassDef({node.name} ")
        for values in (node.decorator_list, node.bases, node.keywords):
            self._value(values)
        self._enter("class")
        self._parameters(node)
        self._value(node.body)
        self._leave()
        self._text.append(")")

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self._text.append(f"{node.__class__.__name__}(")
        self._visit(node.generators[0].iter)  # it is evaluated outside
        self._enter("comprehension")
        for position, part in enumerate(node.generators):
            self._text.append(f" for{part.is_async} ")
            self._visit(part.target)
            if position:
                self._visit(part.iter)
            self._value(part.ifs)
        for name in ("key", "value", "elt"):
            if hasattr(node, name):
                self._visit(getattr(node, name))
        self._leave()
        self._text.append(")")

    def _walrus(self, node: ast.NamedExpr) -> None:
        self._text.append(f"NamedExpr({node.target.id} ")
        self._visit(node.value)
        self._text.append(")")
        scope = self._scope
        while scope.kind == "comprehension":  # it binds a name of the scope around
            scope.binds.add(node.target.id)
            scope = scope.outer
        scope.binds.add(node.target.id)

    def _annotation(self, node: ast.expr) -> None:
        before, self._in_annotation = self._in_annotation, True
        self._visit(node)
        self._in_annotation = before

    def _annotated(self, node: ast.AnnAssign) -> None:
        self._text.append("AnnAssign(")
        self._visit(node.target)
        # Those of a class are fields to dataclasses and pydantic; those of a local name are never evaluated.
        local = self._scope.kind in ("function", "comprehension") and node.simple
        if self._scope.kind == "class" or not (self._lazy or local):
            self._annotation(node.annotation)
        if node.value is not None:
            self._text.append(" = ")
            self._visit(node.value)
        self._text.append(")")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, module, attribute in bindings(node, self._parent):
            self._text.append(f"import({name} {module} {attribute})")
            self._scope.imports.append((name, module, attribute))
        self.executed |= executed(node, self._parent)

    def _global(self, node: ast.Global) -> None:
        self._plain(node)
        self._scope.globals.update(node.names)
        self._scope.loads.update((name,) for name in node.names)

    def _captured(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
        self._plain(node)
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self._scope.binds.add(name)

    def _singleton(self, node: ast.MatchSingleton) -> None:
        self._text.append(f"MatchSingleton({node.value})")


_SPECIAL = {
    ast.Constant: Reader._constant,
    ast.JoinedStr: Reader._joined,
    ast.Name: Reader._name,
    ast.Call: Reader._call,
    ast.Attribute: Reader._attribute,
    ast.FunctionDef: Reader._function,
    ast.AsyncFunctionDef: Reader._function,
    ast.ClassDef: Reader._class,
    ast.Lambda: Reader._lambda,
    ast.ListComp: Reader._comprehension,
    ast.SetComp: Reader._comprehension,
    ast.GeneratorExp: Reader._comprehension,
    ast.DictComp: Reader._comprehension,
    ast.NamedExpr: Reader._walrus,
    ast.AnnAssign: Reader._annotated,
    ast.Import: Reader._import,
    ast.ImportFrom: Reader._import,
    ast.Global: Reader._global,
    ast.ExceptHandler: Reader._captured,
    ast.MatchAs: Reader._captured,
    ast.MatchStar: Reader._captured,
    ast.MatchMapping: Reader._captured,
    ast.MatchSingleton: Reader._singleton,
}


def bindings(node: ast.Import | ast.ImportFrom, parent: str) -> Iterator[tuple[str, str, str]]:
    """(name bound, module, attribute or nothing) of an import; the name is ``*`` where it binds all there are."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name, "") if alias.asname else (*[alias.name.partition(".")[0]] * 2, "")
    else:
        for alias in node.names:
            yield alias.asname or alias.name, _base(node, parent), alias.name


def executed(node: ast.Import | ast.ImportFrom, parent: str) -> set[str]:
    """Modules that an import may execute."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = _base(node, parent)
    return {base, *(f"{base}.{alias.name}" for alias in node.names)}


def _base(node: ast.ImportFrom, parent: str) -> str:
    if not node.level:
        return node.module
    parts = parent.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _listed(value: list[ast.arg] | ast.arg | None) -> list[ast.arg]:
    return value if isinstance(value, list) else [value] if value is not None else []
