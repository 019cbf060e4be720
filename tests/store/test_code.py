from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store.code import PACKAGE, PLUMBING, PROJECT, Package, code_digest, definition_digests, path_of

# Of a package `toy`: `stage.build` is the entry, `tools.used` returns 1 and `tools.unused` returns 2.
TOOLS = "def used():\n    return 1\n\n\ndef unused():\n    return 2\n"


def written(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "toy"
    shutil.rmtree(package, ignore_errors=True)
    for path, text in {"__init__.py": "", "tools.py": TOOLS, **files}.items():
        file = package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    return package


def digest(folder: Path, files: dict[str, str], entry: str = "toy.stage") -> str:
    return Package(written(folder, files), ["toy.plumbing"]).code_digest(entry)


def reacts(folder: Path, stage: str, before: str, after: str, others: dict[str, str] | None = None) -> bool:
    """Whether the stage's digest changes with one edit in one of the files."""
    files = {"tools.py": TOOLS, **(others or {}), "stage.py": stage}
    (edited,) = (path for path, text in files.items() if before in text)
    return digest(folder, files) != digest(folder, files | {edited: files[edited].replace(before, after)})


@pytest.mark.parametrize(
    "before, after",
    [
        ("# one", "# another"),
        ('    """What it does."""\n', ""),
        ('"""What it does."""', '"""What it really does."""'),
        ('"""Of the module."""', '"""Of a module."""'),
        ('"""Of the class."""', ""),
        ('"""Of a field."""', ""),
        ("f(1, 2)", "f(\n        1,\n        2,\n    )"),
        ("'quoted'", '"quoted"'),
        ("x: int", "x: float"),
        ("-> int", "-> float"),
        ("local: int = 3", "local: float = 3"),
        ("\n\n\ndef f", "\n\ndef g():\n    return 0\n\n\ndef f"),
        ("import typing\n", "import typing\nimport os\n"),
    ],
)
def test_what_changes_no_result_changes_no_digest(tmp_path, before, after):
    stage = '''"""Of the module."""

from __future__ import annotations

import typing


class Kind:
    """Of the class."""

    size: int = 1
    """Of a field."""


def f(x: int, y) -> int:
    """What it does."""
    local: int = 3
    return x + y + local  # one


def build(job):
    return Kind, 'quoted', f(1, 2)
'''
    assert not reacts(tmp_path, stage, before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("return a + 1", "return a + 2"),
        ("return a + 1", "return a - 1"),
        ("size: int", "size: float"),
        ("b=1", "b=2"),
        ("b=1", "*, b=1"),
        ("1.5", "1.25"),
        ("import numpy as np", "import jax.numpy as np"),
        ("from math import sin as wave", "from math import cos as wave"),
        ("x is None", "x is not None"),
        ("case None", "case True"),
        ("{x!r:>{a}}", "{x!s:>{a}}"),
        ("return x if", "return x.real if"),
        ("cache(f)", "f"),
    ],
)
def test_what_changes_a_result_changes_the_digest(tmp_path, before, after):
    stage = """
from functools import cache

import numpy as np
from math import sin as wave

LIMIT = 1.5


class Kind:
    size: int


def f(a, b=1):
    return a + 1


def build(x, a):
    match x:
        case None:
            return wave(np.pi)
    f"{x!r:>{a}}"
    return x if x is None else Kind, LIMIT, cache(f)
"""
    assert reacts(tmp_path, stage, before, after)


# Stages that reach `tools.used` and not `tools.unused`.
NARROW = {
    "imported": "from toy.tools import used\ndef build(): return used()",
    "renamed": "from toy.tools import used as other\ndef build(): return other()",
    "two calls away": "from toy.tools import used\ndef a(): used()\ndef b(): a()\ndef build(): b()",
    "as a value": "from toy.tools import used\ndef build(): return map(used, [])",
    "in a table": "from toy.tools import used\nTABLE = {'a': used}\ndef build(): return TABLE['a']()",
    "attribute of a module": "from toy import tools\ndef build(): return tools.used()",
    "attribute of a renamed module": "import toy.tools as t\ndef build(): return t.used()",
    "attribute of the package": "import toy.tools\ndef build(): return toy.tools.used()",
    "attribute of what is called": "from toy import tools\ndef build(): return tools.used.real().x",
    "relative": "from .tools import used\ndef build(): return used()",
    "relative module": "from . import tools\ndef build(): return tools.used()",
    "inside a function": "def build():\n    from toy.tools import used\n    return used()",
    "module inside a function": "def build():\n    from toy import tools\n    return lambda: tools.used()",
    "package inside a function": "def build():\n    import toy.tools\n    return toy.tools.used()",
    "decorator": "from toy.tools import used\n@used\ndef build(): pass",
    "decorator with arguments": "from toy import tools\n@tools.used(1)\ndef f(): pass\ndef build(): f()",
    "default argument": "from toy.tools import used\ndef build(a=used()): pass",
    "default of a keyword": "from toy.tools import used\ndef build(*, a=used()): pass",
    "base class": "from toy.tools import used\nclass A(used): pass\ndef build(): A()",
    "class keyword": "from toy.tools import used\nclass A(metaclass=used): pass\ndef build(): A()",
    "method": "from toy.tools import used\nclass A:\n    def f(self): used()\ndef build(): A().f()",
    "field of a class": "from toy.tools import used\nclass A:\n    x: used\ndef build(): A()",
    "quoted field of a class": "from toy.tools import used\nclass A:\n    x: 'list[used]'\ndef build(): A()",
    "evaluated annotation": "from toy.tools import used\ndef build(x: used): pass",
    "annotation for a decorator": "from __future__ import annotations\nfrom typing import overload\n"
    "from toy.tools import used\n@overload\ndef build(x: used): pass",
    "lambda": "from toy.tools import used\nf = lambda x: used(x)\ndef build(): f(1)",
    "default of a lambda": "from toy.tools import used\ndef build(): return lambda used=used: used",
    "comprehension": "from toy.tools import used\ndef build(): return [used for used in used()]",
    "f-string": "from toy.tools import used\ndef build(): return f'{used():>3}'",
    "global": "from toy.tools import used\ndef build():\n    global used\n    used = used()",
    "global inside a function": "from toy.tools import used\ndef build(used):\n    def f():\n        global used\n"
    "        return used\n    return f",
    "string": "def build(): return 'toy.tools:used'",
    "string in a table": "TABLE = {'a': 'toy.tools:used'}\ndef build(): return TABLE",
    "string with dots": "def build(): return 'toy.tools.used'",
    "either of two imports": "try:\n    from toy.a import used\nexcept ImportError:\n    from toy.tools import used\n"
    "def build(): used()",
    "defined twice": "from toy.tools import used\ndef build(): pass\ndef build(): used()",
    "a side effect": "from toy.tools import used\nused()\ndef build(): pass",
    "a side effect in a condition": "from toy.tools import used\nif 1:\n    x = used()\ndef build(): pass",
    "else of TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\nelse:\n"
    "    from toy.tools import used\ndef build(): used()",
    "assignment to an attribute": "import os\nfrom toy.tools import used\nos.x = used\ndef build(): pass",
    "assignment to an item": "from toy.tools import used\nT = {}\nT['a'] = used\ndef build(): pass",
    "augmented assignment": "from toy.tools import used\nT = []\nT += [used]\ndef build(): pass",
    "a condition like that of a command": "from toy.tools import used\nif __name__ == 'toy.stage':\n    used()\n"
    "def build(): pass",
    "part of a tuple": "from toy.tools import used\nA, (B, *C) = used()\ndef build(): return C",
}


@pytest.mark.parametrize("stage", NARROW.values(), ids=NARROW.keys())
def test_what_a_stage_mentions(tmp_path, stage):
    assert reacts(tmp_path, stage, "return 1", "return 3")
    assert not reacts(tmp_path, stage, "return 2", "return 3")


# Stages that may reach anything of `tools`, and do not tell what.
WIDE = {
    "module as a value": "from toy import tools\ndef build(name): return getattr(tools, name)",
    "module in a table": "from toy import tools\nTABLE = [tools]\ndef build(): return TABLE",
    "namespace of a module": "from toy import tools\ndef build(): return tools.__dict__",
    "all names": "from toy.tools import *\ndef build(): return used()",
    "string": "def build(): return ['-m', 'toy.tools']",
    "words of a string": "def build(): return 'python -m toy.tools --help'",
    "begin of a string": "def build(name): return f'toy.{name}'",
    "begin of a longer string": "def build(name): return f'-m toy.tools.{name}'",
    "importlib": "import importlib\ndef build(name): return importlib.import_module(name)",
    "importlib inside a function": "def build(name):\n    from importlib import reload\n    return reload(name)",
    "__import__": "def build(name): return __import__(name)",
    "loaded modules": "import sys\ndef build(name): return sys.modules[name]",
    "subclasses": "class A: pass\ndef build(): return A.__subclasses__()",
    "globals": "from toy.tools import used, unused\ndef build(name): return globals()[name]",
    "eval": "from toy.tools import used, unused\ndef build(text): return eval(text)",
    "a name that nothing binds": "from toy.tools import used, unused\nx = (y := used)\ndef build(): y()\nz = unused",
    "module kept as a global": "def f():\n    global t\n    import toy.tools as t\ndef build():\n    f()\n    return t",
    "module kept by a class": "class A:\n    from toy import tools\ndef build(): return A.tools",
}


@pytest.mark.parametrize("stage", WIDE.values(), ids=WIDE.keys())
def test_what_cannot_be_told_counts_as_a_whole(tmp_path, stage):
    assert reacts(tmp_path, stage, "return 1", "return 3")
    assert reacts(tmp_path, stage, "return 2", "return 3")


# Stages that mention neither.
NEITHER = {
    "local name": "from toy.tools import used\ndef build(used): return used()",
    "assigned name": "from toy import tools\ndef build():\n    tools = 1\n    return tools",
    "name of a comprehension": "from toy.tools import used\ndef build(): return [used for used in range(3)]",
    "name bound by :=": "from toy.tools import used\ndef build(): return [used := 1 for _ in range(3)], used",
    "name of an error": "from toy.tools import used\ndef build():\n    try: pass\n    except OSError as used: used",
    "name of a pattern": "from toy.tools import used\ndef build(x):\n    match x:\n        case [used]: return used",
    "annotation": "from __future__ import annotations\nfrom toy.tools import used\ndef build(x: used): pass",
    "annotation of a local name": "from toy.tools import used\ndef build():\n    x: used = 1\n    return x",
    "for type checkers": "from __future__ import annotations\nfrom typing import TYPE_CHECKING, cast\n"
    "if TYPE_CHECKING:\n    from toy.tools import used\ndef build(x: used): return cast('used', x)",
    "as a command": "from toy.tools import used\ndef build(): pass\nif __name__ == '__main__':\n    used()",
    "importlib.metadata": "import importlib.metadata\ndef build(): return importlib.metadata.version('numpy')",
    "another word": "def build(): return 'atoy.tools', '/toy.tools', 'toy', 'the toy.'",
    "attribute of the same name": "from toy.tools import used\ndef build(x): return x.used()",
    "own attribute": "from toy.tools import used\nclass A:\n    size = 1\n    twice = 2 * size\ndef build(): A()",
}


@pytest.mark.parametrize("stage", NEITHER.values(), ids=NEITHER.keys())
def test_what_is_no_mention(tmp_path, stage):
    assert not reacts(tmp_path, stage, "return 1", "return 3")
    assert not reacts(tmp_path, stage, "return 2", "return 3")


def test_names_that_are_passed_on(tmp_path):
    stage = "from toy.api import f, g\ndef build(): return f(1) + 2 * g(1)"
    passing = {
        "api/__init__.py": "from .parts import used as f\nfrom toy.tools import used as g",
        "api/parts.py": "def used(): return 5",
    }
    assert reacts(tmp_path, stage, "return 5", "return 6", passing)
    assert reacts(tmp_path, stage, "return 1", "return 6", passing)
    assert not reacts(tmp_path, stage, "return 2", "return 6", passing)
    # The same definitions the other way round.
    swapped = "from .parts import used as g\nfrom toy.tools import used as f"
    assert reacts(tmp_path, stage, passing["api/__init__.py"], swapped, passing)
    inside = "def build():\n    from toy.api import f, g\n    return f(1) + 2 * g(1)"
    assert reacts(tmp_path, inside, passing["api/__init__.py"], swapped, passing)
    library = {"api/__init__.py": "from math import sin as f, cos as g"}
    assert reacts(tmp_path, stage, "sin as f, cos as g", "cos as f, sin as g", library)
    star = {"api/__init__.py": "from toy.api.parts import *", "api/parts.py": "def f(x): return 5\ndef g(x): return 7"}
    assert reacts(tmp_path, stage, "return 7", "return 8", star)


def test_modules_that_import_from_each_other(tmp_path):
    """Digests do not depend on which stage is asked for first."""
    files = {
        "a.py": "try:\n    from toy.b import f\nexcept ImportError:\n    def f(): return 3\ndef build(): return f()",
        "b.py": "from toy.a import f\ndef build(): return f()",
    }
    orders = []
    for order in (["toy.a", "toy.b"], ["toy.b", "toy.a"]):
        package = Package(written(tmp_path, files))
        orders.append({entry: package.definition_digests(entry) for entry in order})
    assert orders[0] == orders[1]
    assert "toy.a:<statements>" in orders[0]["toy.b"]


def test_importing_a_module_executes_it(tmp_path):
    stage = "import toy.sub.effects\ndef build(): pass"
    effects = {"sub/effects.py": "import toy.deeper\nX = 1\ndef f(): return 7", "deeper.py": "print('loud')"}
    assert reacts(tmp_path, stage, "loud", "quiet", effects)
    assert not reacts(tmp_path, stage, "return 7", "return 8", effects)
    assert not reacts(tmp_path, stage, "X = 1", "X = 2", effects)
    assert reacts(tmp_path, "def build():\n    import toy.deeper", "loud", "quiet", effects)
    assert reacts(
        tmp_path, stage, "of the package", "loud", {"sub/__init__.py": "print('of the package')", "sub/effects.py": ""}
    )
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.deeper\ndef build(): pass"
    assert not reacts(tmp_path, types, "loud", "quiet", effects)


def test_definitions_that_register_themselves(tmp_path):
    stage = "import toy.plugins\nfrom toy.registry import KNOWN\ndef build(): return KNOWN"
    registry = "KNOWN = {}\ndef register(f):\n    KNOWN[f.__name__] = f\n    return f"
    plugins = "import functools\nfrom toy import registry\n@registry.register\ndef f(): return 7\n"
    plugins += "@functools.cache\ndef g(): return 9"
    assert reacts(tmp_path, stage, "return 7", "return 8", {"registry.py": registry, "plugins.py": plugins})
    assert not reacts(tmp_path, stage, "return 9", "return 8", {"registry.py": registry, "plugins.py": plugins})


def test_a_command_that_a_string_names(tmp_path):
    stage = "def build(): return '-m', 'toy.worker'"
    worker = "def main(n): pass\nif __name__ == '__main__':\n    main(7)"
    assert reacts(tmp_path, stage, "main(7)", "main(8)", {"worker.py": worker})


def test_plumbing_is_left_out(tmp_path):
    stage = "from toy import plumbing\nfrom toy.plumbing.pipes import flow\ndef build(): plumbing.x(flow())"
    pipes = {"plumbing/pipes.py": "from toy.tools import used\nprint('pipe')\ndef flow(): return used()"}
    assert not reacts(tmp_path, stage, "pipe'", "tube'", pipes)
    assert not reacts(tmp_path, stage, "return 1", "return 3", pipes)
    # It is told by its place, not by how a name begins.
    assert reacts(
        tmp_path,
        "from toy.plumbings import f\ndef build(): f()",
        "return 7",
        "return 8",
        {"plumbings.py": "def f(): return 7"},
    )


def test_entries(tmp_path):
    package = Package(written(tmp_path, {"stage.py": "def build(): return 1\ndef other(): return build()"}))
    assert set(package.definition_digests("toy.stage")) == {"toy.stage:build"}
    assert package.code_digest("toy.stage") == package.code_digest("toy.stage:build")
    assert set(package.definition_digests("toy.stage:other")) == {"toy.stage:build", "toy.stage:other"}
    # Without a `build` a module is taken as a whole.
    assert set(package.definition_digests("toy.tools")) == {"toy.tools:used", "toy.tools:unused"}
    for missing in ("toy.nowhere", "toy.stage:nothing", "numpy"):
        with pytest.raises(ModuleNotFoundError):
            package.code_digest(missing)


def test_the_digest_is_the_same_wherever_the_project_lies(tmp_path):
    files = {"stage.py": NARROW["imported"]}
    (tmp_path / "elsewhere").mkdir()
    assert digest(tmp_path, files) == digest(tmp_path / "elsewhere", files)


def test_the_digest_is_the_same_in_every_version_of_python(tmp_path):
    """As made by 3.11, 3.12 and 3.13. Whoever changes it has every stage of every cache made again."""
    stage = """
class A(dict, metaclass=type):
    x: "int | None" = None

    @property
    def f(self, a, /, b=1, *c, d, e=None, **k) -> int:
        return {**k, 1: (yield)}, [*c], self.x[1:, ::2], lambda a=1, *, b: a

async def g(x):
    async with x as y, x:
        return [z async for z in y if z]

def build(x):
    try:
        with x: return f'a' f"{x:>{x}.2}{{{x!r}b" 'c' f'{x=}' '' if x else ... , 1.5e-9, 2j, b"z", "ü"
    except* (OSError, ValueError) as error:
        del x
    match x:
        case {"a": [1, *_], **rest} | A(x=None): assert A, g
"""
    assert digest(tmp_path, {"stage.py": stage}) == "9b0ef79c44cb4a4f"


def copy_of_the_package(tmp_path: Path) -> Path:
    return shutil.copytree(
        PACKAGE, tmp_path / "pipeline", ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".py")]
    )


def stages() -> list[str]:
    return sorted(
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if "\n    stage.run(" in path.read_text()
    )


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """Which stages of this package an edit of one of its files changes."""
    folder = copy_of_the_package(tmp_path_factory.mktemp("project"))

    def changed(path: str, before: str, after: str) -> set[str]:
        file = folder / path
        text = file.read_text()
        assert text.count(before) == 1
        file.write_text(text.replace(before, after))
        package = Package(folder, PLUMBING)
        found = {entry for entry in stages() if package.code_digest(entry) != code_digest(entry)}
        file.write_text(text)
        return found

    return changed


def test_edits_of_this_package(edited):
    assert len(stages()) > 25
    assert edited("exchange/pickles.py", "from __future__", "# What an import is for.\nfrom __future__") == set()
    solver = edited("learning/glm.py", "step = 0.5**halving", "step = 0.25**halving")
    assert "pipeline.methods.dance.bottleneck.classifier" in solver
    assert "pipeline.motion.poses" not in solver
    assert edited(
        "methods/dance/bottleneck/baselines.py", "def build(job: stage.Job) -> None:", "def build(job, x=1):"
    ) == {"pipeline.methods.dance.bottleneck.baselines"}


def test_lazy_imports_and_workers_count():
    poses = definition_digests("pipeline.motion.poses")
    assert "pipeline.motion.pose.vitpose:PoseEstimator" in poses
    assert "pipeline.data.isolated:<main>" in poses  # videos are decoded by `python -m pipeline.data.isolated`
    assert "pipeline.encoding.loading:<statements>" in poses
    assert not any(name.startswith(PLUMBING) for name in poses)
    assert not any("baselines" in name for name in poses)


def test_paths():
    assert path_of("pipeline.motion.finch") == "pipeline/motion/finch.py"
    assert path_of("pipeline.motion") == "pipeline/motion/__init__.py"
    assert path_of("pipeline.gone.away") == "pipeline/gone/away.py"


def test_the_command_lists_stages():
    entries = ["pipeline.motion.keyframes", "pipeline.motion.finch:finch"]
    command = [sys.executable, "-m", "pipeline.store.code", *entries]
    lines = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split() for line in lines] == [
        [code_digest(entry), str(len(definition_digests(entry))), entry] for entry in entries
    ]


def test_the_words_of_a_setting_decide_nothing_but_its_default_does(tmp_path):
    setting = "class S:\n    n: int = Field(3, description='how many')\n"
    stage = f"from pydantic import Field\n\n\n{setting}\n\ndef build(job):\n    return S\n"
    assert not reacts(tmp_path, stage, "how many", "number of rows")
    assert reacts(tmp_path, stage, "Field(3", "Field(4")
