"""What people have said about the concepts of a run: names, merges, drops and approval, in ``curation.yaml``.

The file lies in ``results/<data set>/`` and is keyed by the content of concepts, so that it outlives other numbers and
other settings. Merges and drops (`Curation.structure`) decide what the bottleneck learns; names and approval are added
to the model by the stage `named` alone. docs/curation.md has the form. Nothing here imports torch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.settings import ConfigError
from pipeline.store.atomic import StageError, replace_when_done
from pipeline.store.names import nearest
from pipeline.store.provenance import digest_of

if TYPE_CHECKING:  # the Snakefile and the help of all commands come by here
    import numpy as np

FILE = "curation.yaml"
TYPES = ("motion", "object", "scene")
ACTIONS = ("name", "merge", "drop", "approve", "note", "forget")
DIGEST = re.compile(r"[0-9a-f]{16}")
# Of the start of a digest that people type.
SHORTEST = 6
MAX_NAME, MAX_NOTE, MAX_BYTES = 100, 1000, 4 << 20
HEAD = """\
# What people say about the concepts of this run: type, digest of the concept, marks. docs/curation.md tells more.
# `conceptreel curate` rewrites this file; keep remarks in `note`, not in comments.
"""


class CurationError(ConfigError, StageError):
    """A curation that cannot be meant, told in one line; what it means can depend on what a stage finds."""


@dataclass(frozen=True)
class Entry:
    """The marks of one concept.

    Attributes:
        was: its name when it was curated first, for people and for what is said when it is gone.
        name: instead of that name; empty: none.
        approved: somebody has looked at it and found it good.
        drop: the bottleneck does without it.
        into: digest of the concept of its type that it is merged into; empty: none.
        note: any remark.
    """

    was: str = ""
    name: str = ""
    approved: bool = False
    drop: bool = False
    into: str = ""
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whether it says more than a remark."""
        return bool(self.name or self.approved or self.drop or self.into)


@dataclass(frozen=True)
class Concept:
    """A concept that a run has found, whether or not it is left in the bottleneck.

    Attributes:
        digest: see `motion_digests` and `word_digest`; was: its name in the artifacts.
        words: what a motion does, in words; videos: that show it, train and validation; None: not counted.
    """

    type: str
    digest: str
    was: str
    words: str = ""
    videos: int | None = None

    @property
    def id(self) -> str:
        return f"{self.type}:{self.digest}"


@dataclass(frozen=True)
class Curation:
    """All entries by type and digest."""

    entries: Mapping[tuple[str, str], Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, marks: Mapping[str, Mapping[str, Any]]) -> Curation:
        """From `marks`; notes are not among them."""
        return cls({(kind, digest): Entry(**own) for kind, rows in marks.items() for digest, own in rows.items()})

    def structure(self) -> dict[str, dict[str, Any]]:
        """What decides the bottleneck: type → ``drop`` (digests) and ``into`` (digest → digest); empty without both."""
        found: dict[str, dict[str, Any]] = {}
        for (kind, digest), entry in sorted(self.entries.items()):
            if entry.drop or entry.into:
                own = found.setdefault(kind, {"drop": [], "into": {}})
                if entry.drop:
                    own["drop"].append(digest)
                else:
                    own["into"][digest] = entry.into
        return found

    def marks(self) -> dict[str, dict[str, Any]]:
        """Everything but the notes, for the settings of the last stage: type → digest → marks."""
        found: dict[str, dict[str, Any]] = {}
        for (kind, digest), entry in sorted(self.entries.items()):
            if entry.counts:
                own = {key: value for key, value in asdict(entry).items() if value and key != "note"}
                found.setdefault(kind, {})[digest] = own
        return found


# --------------------------------------------------------------------------------------------------------- identities


def _apart(digests: Iterable[str]) -> list[str]:
    """The same digests, those that come again told apart by how often they came."""
    seen: dict[str, int] = {}
    result = []
    for digest in digests:
        number = seen[digest] = seen.get(digest, -1) + 1
        result.append(digest_of([digest, number]) if number else digest)
    return result


def motion_digests(medoids: np.ndarray, names: Sequence[str], labels: Iterable[Mapping[str, Any]]) -> list[str]:
    """Digests of the motion concepts: of their medoids or, of imported labels, of the videos that show them.

    Args:
        medoids: float32 ``[M, L, J, 2]``, without rows where the labels were imported; names: ``M``.
        labels: rows of ``video_id`` and ``concepts``, needed where there is no medoid.
    """
    if len(medoids):
        return _apart(digest_of([list(own.shape), own.astype("<f4").tobytes().hex()]) for own in medoids)
    videos: list[list[str]] = [[] for _ in names]
    for row in labels:
        for concept in row["concepts"]:
            videos[concept].append(row["video_id"])
    return _apart(digest_of(sorted(own)) for own in videos)


def word_digest(kind: str, text: str) -> str:
    """Digest of an object or a scene: of its type and text."""
    return digest_of([kind, text])


def motion_concepts(
    arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], labels: Iterable[Mapping[str, Any]]
) -> list[Concept]:
    """The motion concepts of the artifact ``motion_concepts``; labels: see `motion_digests`."""
    digests = motion_digests(arrays["medoids"], about["names"], labels)
    words = about["words"] or [None] * len(digests)
    rows = zip(digests, about["names"], words, arrays["n_videos"].tolist(), strict=True)
    return [Concept("motion", digest, name, said["short"] if said else "", count) for digest, name, said, count in rows]


def word_concepts(about: Mapping[str, Any]) -> list[Concept]:
    """The objects and scenes that the attributes of the artifact ``pseudo_labels`` name."""
    return [
        Concept(kind, word_digest(kind, text), text) for kind, text in zip(about["types"], about["names"], strict=True)
    ]


def of_run(results: Path) -> list[Concept]:
    """All concepts that a run has found, whatever its curation says.

    Raises:
        ArtifactError: an artifact is damaged, or there is no concept.
    """
    from pipeline.store.arrays import Arrays
    from pipeline.store.atomic import ArtifactError
    from pipeline.store.tables import read_table

    found: list[Concept] = []
    path = results / "motion" / "motion_concepts.zarr.zip"
    if path.is_file():
        with Arrays(path) as artifact:
            medoids, videos, about = artifact["medoids"], artifact["n_videos"], artifact.attributes
        labels = [] if len(medoids) else read_table(results / "motion" / "motion_labels.parquet")[0].to_pylist()
        found += motion_concepts({"medoids": medoids, "n_videos": videos}, about, labels)
    path = results / "context" / "pseudo_labels.zarr.zip"
    if path.is_file():
        with Arrays(path) as artifact:
            found += word_concepts(artifact.attributes)
    if not found:
        raise ArtifactError(f"{results} has no concepts yet; `{command(results)}` finds them")
    return found


# ----------------------------------------------------------------------------------------------------------- the file


class _Loader(yaml.SafeLoader):
    """A key that stands twice in a mapping is an error, and not the last one's; so is an alias."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        # A few lines of aliases of aliases stand for more than any memory holds.
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                problem=f"*{event.anchor} stands for another part of the file; write it out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) != len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), "<<")
            raise yaml.constructor.ConstructorError(
                problem=f"a key stands twice: {twice}", problem_mark=node.start_mark
            )
        return found


_Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node, deep=True))


def _one_line(text: object) -> str:
    """Anything as one short line without control characters."""
    whole = " ".join(str(text).split())
    return "".join(c if unicodedata.category(c)[0] != "C" else "�" for c in whole)[:120]


def checked_text(text: Any, what: str, longest: int) -> str:
    """A name or a remark as it may stand in the file, in Unicode's composed form.

    Raises:
        CurationError: it is no text, too long, or holds control characters (or those that turn text around).
    """
    if not isinstance(text, str):
        raise CurationError(f"{what} must be text, not {_one_line(repr(text))}; write it in quotes")
    text = unicodedata.normalize("NFC", text).strip()
    # Cc, Cf, Cs, Co, Cn: controls, text direction, what is no character; Zl and Zp end a line.
    if any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in text):
        raise CurationError(f"{what} `{_one_line(text)}` holds a control character; use one line of plain text")
    if len(text) > longest:
        raise CurationError(f"{what} `{_one_line(text)[:40]}…` has {len(text)} characters; {longest} are allowed")
    return text


def checked_name(text: Any) -> str:
    """A concept's name.

    Raises:
        CurationError: see `checked_text`; or it is empty, or begins like ``motion:``.
    """
    name = checked_text(text, "the name", MAX_NAME)
    if not name:
        raise CurationError("a name may not be empty; leave it out")
    if name.partition(":")[0] in TYPES and ":" in name:
        raise CurationError(f"the name `{name}` begins with a type and a colon, which tells types apart; change it")
    return name


def _same(name: str) -> str:
    """Names that people would confuse are the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def _entry(raw: Any, place: str) -> Entry:
    if not isinstance(raw, dict):
        raise CurationError(f"{place} must hold marks such as `name: …` or `drop: true`")
    known = Entry.__dataclass_fields__
    for key, value in raw.items():
        if key not in known:
            close = nearest(str(key), known)
            raise CurationError(
                f"{place} has the unknown key `{_one_line(key)}`; "
                + (f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}")
            )
        if key in ("approved", "drop") and not isinstance(value, bool):
            raise CurationError(f"{place}: {key} must be true or false, not {_one_line(repr(value))}")
    try:
        own = {key: checked_text(raw[key], key, MAX_NOTE) for key in ("was", "note") if key in raw}
        own |= {"name": checked_name(raw["name"])} if "name" in raw else {}
        own |= {"into": checked_text(raw["into"], "into", MAX_NAME)} if "into" in raw else {}
    except CurationError as error:
        raise CurationError(f"{place}: {error}") from None
    return Entry(**own, **{key: raw[key] for key in ("approved", "drop") if key in raw})


def _agreeing(entries: dict[tuple[str, str], Entry], source: str) -> Curation:
    """Check what entries say together.

    Raises:
        CurationError: two names are the same, or a merge leads nowhere.
    """
    names: dict[tuple[str, str], str] = {}
    for (kind, digest), entry in sorted(entries.items()):
        place = f"{source}: {kind} {digest}"
        if entry.name and (other := names.setdefault((kind, _same(entry.name)), digest)) != digest:
            raise CurationError(f"{source}: {kind} {other} and {digest} both have the name `{entry.name}`; change one")
        if not entry.into:
            continue
        if not DIGEST.fullmatch(entry.into):
            raise CurationError(f"{place}: into must be the digest of a concept, not `{_one_line(entry.into)}`")
        if entry.drop:
            raise CurationError(f"{place} is dropped and merged; say one of both")
        if entry.into == digest:
            raise CurationError(f"{place} is merged into itself")
        target = entries.get((kind, entry.into))
        elsewhere = [other for other, its in entries if its == entry.into and other != kind]
        if target is None and elsewhere:
            raise CurationError(f"{place} is merged into a concept of type {elsewhere[0]}; merge concepts of one type")
        if target and target.drop:
            raise CurationError(f"{place} is merged into {entry.into}, which is dropped; forget one of both")
        if target and target.into:
            raise CurationError(f"{place} is merged into {entry.into}, which is merged itself; name {target.into}")
    return Curation(entries)


def parsed(text: str, source: str = FILE) -> Curation:
    """The curation that a file's text holds.

    Args:
        source: what to call the file in errors.

    Raises:
        CurationError: it holds something else.
    """
    try:
        raw = yaml.load(text, Loader=_Loader)
    except Exception as error:  # beside its own errors YAML raises those of int, datetime and of the stack
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        words = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise CurationError(f"{source} is not valid YAML{where}: {_one_line(words)}") from None
    if raw is not None and not isinstance(raw, dict):
        raise CurationError(f"{source} must hold the types {', '.join(TYPES)}")
    entries: dict[tuple[str, str], Entry] = {}
    for kind, concepts in (raw or {}).items():
        if kind not in TYPES:
            raise CurationError(f"{source} has the unknown type `{_one_line(kind)}`; there are {', '.join(TYPES)}")
        if concepts is not None and not isinstance(concepts, dict):
            raise CurationError(f"{source}: {kind} must hold digests of concepts with their marks")
        for digest, marks in (concepts or {}).items():
            if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
                raise CurationError(
                    f"{source}: `{_one_line(digest)}` of type {kind} is no digest of 16 hexadecimal digits; "
                    f"`conceptreel curate` lists them (one of digits alone stands in quotes)"
                )
            entries[kind, digest] = _entry(marks, f"{source}: {kind} {digest}")
    return _agreeing(entries, source)


def read(path: str | Path) -> Curation:
    """The curation in a file; an empty one where there is no file.

    Raises:
        CurationError: it cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CurationError(f"{path} has more than {MAX_BYTES >> 20} MB, and holds no curation")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Curation()
    except UnicodeDecodeError:
        raise CurationError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise CurationError(f"{path} cannot be read: {error.strerror}") from None
    return parsed(text, str(path))


def as_text(curation: Curation) -> str:
    """The text of a file."""
    content: dict[str, Any] = {}
    for kind in TYPES:
        own = {digest: entry for (its, digest), entry in sorted(curation.entries.items()) if its == kind}
        if own:
            content[kind] = {
                digest: {key: value for key, value in asdict(entry).items() if value} for digest, entry in own.items()
            }
    return HEAD + (yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120) if content else "")


def written(path: str | Path, curation: Curation) -> None:
    """Write a curation; the file is whole at any time.

    Raises:
        CurationError: `read` would refuse it.
    """
    text = as_text(curation)
    if parsed(text, str(path)) != curation:
        raise CurationError(f"{path}: this curation would be read as another one; nothing is written")
    with replace_when_done(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ changes


def find(curation: Curation, concepts: Sequence[Concept], text: str) -> Concept:
    """The concept that somebody means: by id, digest (or its start), name, or ``type:name``.

    Raises:
        CurationError: there is none, or several.
    """
    said = {concept.id: curation.entries.get((concept.type, concept.digest), Entry()).name for concept in concepts}
    ways = (
        lambda own: text in (own.id, own.digest),
        lambda own: bool(said[own.id]) and text in (said[own.id], f"{own.type}:{said[own.id]}"),
        lambda own: text in (own.was, f"{own.type}:{own.was}"),
        lambda own: len(text) >= SHORTEST and own.digest.startswith(text),
    )
    for way in ways:
        found = [concept for concept in concepts if way(concept)]
        if len(found) == 1:
            return found[0]
        if found:
            several = " or ".join(concept.id for concept in found[:4])
            raise CurationError(f"`{_one_line(text)}` means {len(found)} concepts; say {several}")
    near = nearest(text, [name for concept in concepts for name in (said[concept.id], concept.was) if name])
    hint = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
    raise CurationError(f"there is no concept `{_one_line(text)}`{hint}")


def groups(structure: Mapping[str, Mapping[str, Any]], kind: str, digests: Sequence[str]) -> list[list[int]]:
    """The concepts of a type that are left: rows of the concepts in each, the leading one first, in their old order.

    A merge whose leading concept is not there (or dropped) does nothing, and the other concepts stay.

    Args:
        structure: see `Curation.structure`; digests: of all concepts of the type, ``M``.
    """
    own = structure.get(kind, {"drop": [], "into": {}})
    row_of = {digest: row for row, digest in enumerate(digests) if digest not in own["drop"]}
    leader = {row: row_of.get(own["into"].get(digest, ""), row) for digest, row in row_of.items()}
    found: dict[int, list[int]] = {row: [row] for row in row_of.values() if leader[row] == row}
    for row in row_of.values():
        if leader[row] != row:
            found[leader[row]].append(row)
    return [found[row] for row in sorted(found)]


def parted(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stage's own settings, and what `Curation.structure` or `Curation.marks` has put among them."""
    return {key: value for key, value in settings.items() if key != "curation"}, settings.get("curation", {})


def kept_groups(job: Any, kind: str, names: Sequence[str]) -> list[list[int]]:
    """`groups` of a stage's concepts of one type, by the curation in its settings.

    Args:
        job: with the inputs ``motion_concepts`` and, of imported labels, ``motion_labels`` where motion is curated.
        names: original names of all concepts of the type.

    Raises:
        CurationError: none is left.
    """
    _, structure = parted(job.settings)
    if kind not in structure:
        return [[row] for row in range(len(names))]
    digests = job_digests(job) if kind == "motion" else [word_digest(kind, name) for name in names]
    found = groups(structure, kind, digests)
    if names and not found:
        raise CurationError(all_dropped(kind, len(names)))
    return found


def job_digests(job: Any) -> list[str]:
    """`motion_digests` of the inputs ``motion_concepts`` and ``motion_labels`` of a job."""
    ((arrays, about),) = job.read_arrays("motion_concepts")
    labels = [] if len(arrays["medoids"]) else job.read_table("motion_labels")[0].to_pylist()
    return motion_digests(arrays["medoids"], about["names"], labels)


def united(values: np.ndarray, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Columns ``[n, M]`` of concepts as those of their groups ``[n, G]``: the largest, so that labels are united."""
    if all(len(own) == 1 for own in rows) and len(rows) == values.shape[1]:
        return values
    result = values[:, [own[0] for own in rows]]
    for column, own in enumerate(rows):
        if len(own) > 1:
            result[:, column] = values[:, list(own)].max(1)
    return result


def named(
    marks: Mapping[str, Mapping[str, Any]], kind: str, concepts: Sequence[tuple[str, str]], source: str = FILE
) -> list[str]:
    """Names of concepts of one type as people see them.

    Args:
        marks: see `Curation.marks`; concepts: (digest, original name) of those that are left, ``M``.

    Raises:
        CurationError: two have one name.
    """
    given = [marks.get(kind, {}).get(digest, {}).get("name", "") for digest, _ in concepts]
    seen: dict[str, tuple[str, str]] = {}
    for name, (digest, was) in zip(given, concepts, strict=True):
        other, its = seen.setdefault(_same(name or was), (digest, name))
        # Candidates that nobody has named may be alike.
        if other != digest and (name or its):
            raise CurationError(
                f"{source}: {kind} {other} and {digest} would both be called `{name or was}`; change one name"
            )
    return [name or was for name, (_, was) in zip(given, concepts, strict=True)]


def check(curation: Curation, concepts: Sequence[Concept]) -> None:
    """Refuse what a run cannot follow.

    Raises:
        CurationError: two concepts have one name, or a type has no concept left.
    """
    structure, marks = curation.structure(), curation.marks()
    for kind in dict.fromkeys(concept.type for concept in concepts):
        own = [concept for concept in concepts if concept.type == kind]
        kept = groups(structure, kind, [concept.digest for concept in own])
        if not kept:
            raise CurationError(all_dropped(kind, len(own)))
        named(marks, kind, [(own[rows[0]].digest, own[rows[0]].was) for rows in kept])


def all_dropped(kind: str, count: int) -> str:
    which = f"all {count} {kind} concepts" if count > 1 else f"the only {kind} concept"
    return f"{FILE} drops {which}; keep one, or take {kind} off bottleneck.concept_layers.types of the configuration"


def changed(curation: Curation, concepts: Sequence[Concept], changes: Sequence[Mapping[str, Any]]) -> Curation:
    """A curation after some changes, all of them or none.

    Args:
        concepts: of the run, see `of_run`.
        changes: ``action`` (one of `ACTIONS`), ``concept``, and ``name``, ``note`` or ``with`` (names of concepts).

    Raises:
        CurationError: a change cannot be meant, or the run could not follow the result.
    """
    for change in changes if isinstance(changes, Sequence) else (changes,):
        if not isinstance(change, Mapping) or change.get("action") not in ACTIONS:
            raise CurationError(f"a change has one of the actions {', '.join(ACTIONS)}")
        action, own = change["action"], {"name": ("name",), "note": ("note",), "merge": ("with",)}
        if set(change) != {"action", "concept", *own.get(action, ())} or not isinstance(change["concept"], str):
            raise CurationError(f"the action {action} takes {', '.join(('concept', *own.get(action, ())))}")
        curation = _after(curation, concepts, action, change)
    check(curation, concepts)
    return _agreeing(dict(curation.entries), FILE)


def _after(curation: Curation, concepts: Sequence[Concept], action: str, change: Mapping[str, Any]) -> Curation:
    entries = dict(curation.entries)

    def mark(concept: Concept, **marks: Any) -> None:
        key = concept.type, concept.digest
        entries[key] = replace(entries.get(key, Entry(was=concept.was)), **marks)

    if action == "forget":
        known = [*concepts, *(Concept(kind, digest, entry.was) for kind, digest, entry in gone(curation, concepts))]
        concept = find(curation, known, change["concept"])
        if (concept.type, concept.digest) not in entries:
            raise CurationError(f"nothing is said about {concept.type} `{concept.was}`; there is nothing to forget")
        del entries[concept.type, concept.digest]
        return Curation(entries)
    concept = find(curation, concepts, change["concept"])
    own = entries.get((concept.type, concept.digest), Entry())
    if action == "name":
        mark(concept, name=checked_name(change["name"]))
    elif action == "note":
        mark(concept, note=checked_text(change["note"], "the note", MAX_NOTE))
    elif action == "approve":
        mark(concept, approved=True)
    elif action == "drop":
        if any(kind == concept.type and entry.into == concept.digest for (kind, _), entry in entries.items()):
            raise CurationError(f"others are merged into {concept.type} `{concept.was}`; forget their merges first")
        mark(concept, drop=True, into="")
    else:
        others = change["with"]
        if not isinstance(others, list) or not others or not all(isinstance(item, str) for item in others):
            raise CurationError("the action merge takes with: a list of concepts")
        if own.drop or own.into:
            state = "dropped" if own.drop else "merged into another one"
            raise CurationError(
                f"{concept.type} `{concept.was}` is {state}, and cannot lead a merge; forget that first"
            )
        for text in others:
            other = find(curation, concepts, text)
            if other.type != concept.type:
                raise CurationError(
                    f"`{concept.was}` is {concept.type}, `{other.was}` is {other.type}; merge concepts of one type"
                )
            if other.digest == concept.digest:
                raise CurationError(f"{concept.type} `{concept.was}` cannot be merged with itself")
            # Those that it leads come with it.
            for (kind, digest), entry in list(entries.items()):
                if kind == other.type and entry.into == other.digest:
                    entries[kind, digest] = replace(entry, into=concept.digest)
            mark(other, into=concept.digest, drop=False)
    return Curation(entries)


# ------------------------------------------------------------------------------------------------------- what is said


def gone(curation: Curation, concepts: Iterable[Concept]) -> list[tuple[str, str, Entry]]:
    """(type, digest, entry) of the concepts that are curated, and that the run does not have."""
    known = {(concept.type, concept.digest) for concept in concepts}
    led = {(kind, entry.into) for (kind, _), entry in curation.entries.items() if entry.into}
    absent = {key: entry for key, entry in curation.entries.items() if key not in known}
    absent |= {key: Entry() for key in led if key not in known and key not in absent}
    return [(*key, entry) for key, entry in sorted(absent.items())]


def told(curation: Curation, concepts: Sequence[Concept]) -> dict[str, Any]:
    """For metrics.json: ``applied``, how many entries have an effect, and ``unknown``: concepts that are not there."""
    curation = Curation({key: entry for key, entry in curation.entries.items() if entry.counts})
    absent = gone(curation, concepts)
    missing = {(kind, digest) for kind, digest, _ in absent}
    applied = sum(key not in missing and (key[0], entry.into) not in missing for key, entry in curation.entries.items())
    return {
        "applied": applied,
        "unknown": [f"{kind}:{digest}" + (f" ({entry.was})" if entry.was else "") for kind, digest, entry in absent],
    }


def unknown_words(unknown: Sequence[str]) -> str:
    """One line about curated concepts that are not there."""
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    verb = "is" if len(unknown) == 1 else "are"
    return (
        f"{len(unknown)} curated concept{'s'[: len(unknown) != 1]} {verb} not in this run, and what {FILE} says of "
        f"{'it' if len(unknown) == 1 else 'them'} has no effect: {', '.join(unknown[:3])}{more}"
    )


def shown(curation: Curation, concepts: Sequence[Concept]) -> list[dict[str, Any]]:
    """The state of every concept as JSON, in the order of the run; curated ones that are not there come last."""
    kept: dict[str, int] = {}
    for kind in TYPES:
        own = [concept for concept in concepts if concept.type == kind]
        for rows in groups(curation.structure(), kind, [concept.digest for concept in own]):
            kept |= {own[row].id: own[rows[0]].id for row in rows}
    result = []
    for concept in concepts:
        entry = curation.entries.get((concept.type, concept.digest), Entry())
        leader = kept.get(concept.id)
        result.append(
            {
                "id": concept.id,
                "type": concept.type,
                "digest": concept.digest,
                "was": concept.was,
                "name": entry.name or concept.was,
                "words": concept.words,
                "videos": concept.videos,
                "state": "dropped" if leader is None else "kept" if leader == concept.id else "merged",
                "into": leader if leader != concept.id else None,
                "approved": entry.approved,
                "note": entry.note,
            }
        )
    for kind, digest, entry in gone(curation, concepts):
        own = {
            "id": f"{kind}:{digest}",
            "type": kind,
            "digest": digest,
            "was": entry.was,
            "name": entry.name or entry.was,
        }
        own |= {"words": "", "videos": None, "state": "unknown", "into": None}
        result.append({**own, "approved": entry.approved, "note": entry.note})
    return result


def outdated(results: Path, curation: Curation) -> str:
    """What the model of a run does not know yet of a curation: ``structure``, ``names``, or nothing (empty).

    ``names``: the last stage alone has to run; ``structure``: the bottleneck.
    """
    from pipeline.store.inspect import inspect_artifact

    path = results / "bottleneck" / "curation.parquet"
    made_with: Mapping[str, Any] = {}
    if path.is_file():
        made_with = inspect_artifact(path)[1].get("provenance", {}).get("settings", {}).get("curation", {})
    now = curation.marks()
    if made_with == now:
        return ""
    return "names" if Curation.of(made_with).structure() == curation.structure() else "structure"


def command(results: Path) -> str:
    """What makes the model of a run follow its curation."""
    return f"snakemake --cores all {results / 'model.pt'}"
