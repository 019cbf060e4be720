"""Mutated artifacts: from a valid file and a seed to the bytes of a broken or hostile one."""

from __future__ import annotations

import functools
import io
import json
import pickle
import pickletools
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse
import torch
import yaml

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.motion import skeleton as skeletons
from pipeline.store.arrays import write_arrays
from pipeline.store.provenance import SCHEMA_VERSION
from pipeline.store.tables import KEY, write_table

Draw = random.Random

# A hostile file would leave this one behind, below the folder that it is read in.
CANARY = "executed"
BOMB_BYTES = 1 << 28
ABSURD = (0, -1, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64, -(2**63), 10**30)
ABSURD_JSON: tuple[Any, ...] = (
    *(None, True, "", "x", -1, 0, 1.5, 1e308, 10**30, [], {}, [None], {"": 0}, "\0", "../../x", "é\ud800"),
    *([2**62, 2**62], [2**40], [-1], ["1"], [[1]], [1.5], [0, 0, 0], [1] * 2000, float("nan"), float("inf")),
)
NAMES = ("../../outside", "/tmp/outside", "..\\outside", "zarr.json/x", "", "a" * 70_000, "x\0y", ".", "..", "ä/\u202e")


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


# ------------------------------------------------------------------------------------------------------- valid files


def _file(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        write(path)
        return path.read_bytes()


@functools.cache
def valid(kind: str) -> bytes:
    """A small file as the project writes it, or as it is published."""
    numbers = np.random.default_rng(0)
    provenance = {
        "stage": "features",
        "module": "pipeline.backbone.features",
        "settings": {},
        "code_digest": "0",
        "counts": {"ok": 3, "failed": 0},
        "seconds": 1.0,
        "inputs": {},
    }
    if kind == "zarr":
        arrays = {"features": numbers.normal(size=(40, 7)).astype(np.float32), "offsets": np.arange(4)}
        content = {"schema": "features", "schema_version": SCHEMA_VERSION, "video_id": ["a", "b", "c"], "failed": []}
        return _file(lambda path: write_arrays(path, arrays, content, provenance), ".zarr.zip")
    if kind == "parquet":
        table = pa.table({"video_id": ["a", "b", "c"], "label": [0, 1, 2], "frames": [[1], [], [2, 3]]})
        return _file(lambda path: write_table(path, table, {"schema": "index", "failed": []}, provenance), ".parquet")
    if kind in ("model", "tensor"):
        if kind == "tensor":
            return _file(lambda path: torch.save(torch.randn(9, 4), path), ".pt")
        layer = {"weight": numbers.normal(size=(3, 5)), "mean": np.zeros(3), "std": np.ones(3)}
        model = ConceptModel(
            ["a", "b"],
            ["x", "y", "z"],
            ["object"] * 3,
            layer,
            numbers.normal(size=(2, 3)),
            np.zeros(2),
            np.zeros((0, 2, 2, 2), np.float32),
            {"dataset": "d", "metrics": {}},
        )
        return _file(model.save, ".pt")
    if kind == "mat":
        content = {
            "x": numbers.uniform(size=(6, 13)),
            "y": numbers.uniform(size=(6, 13)),
            "visibility": np.ones((6, 13)),
            "bbox": np.ones((6, 4)),
            "action": "bowl",
        }
        return _file(lambda path: scipy.io.savemat(path, content, do_compression=True), ".mat")
    if kind in ("coco", "mmaction", "poses"):
        return _poses(kind, numbers)
    if kind == "boxes":
        rows = [f"{video},{frame},1,2,30,40,0.9" for video in ("0001", "b") for frame in range(4)]
        return "\n".join(["video_id,frame,x0,y0,x1,y1,score", *rows, ""]).encode()
    if kind == "skeleton":
        return (Path(skeletons.__file__).parent / "skeletons" / "coco.yaml").read_bytes()
    if kind == "list":
        return "".join(f"videos/v{number}.mp4 {number % 2}\n" for number in range(12)).encode()
    if kind == "generated":
        return (
            "split,path,label,class,actor\n"
            + "".join(f"train,videos/v{number}.mp4,{number % 2},{'ab'[number % 2]},p\n" for number in range(12))
        ).encode()
    if kind == "labels":
        rows = [{"video_name": f"v{number}.mp4", "attribute_label": [0, 1, -1]} for number in range(6)]
        return json.dumps(rows).encode()
    if kind == "keyframes":
        return "".join(f"v{number} 1 5 9 20\n" for number in range(6)).encode()
    if kind == "candidates":
        return b"# objects\nball\nbat\ntennis racket\n"
    return yaml.safe_dump(
        {
            "data_root": "data",
            "runtime": {"device": "auto", "decoder": {"seconds": 5}},
            "datasets": {"d": {"data": {"root": "r", "shards": 2}, "motion": {"poses": {"model": "m"}}}},
        }
    ).encode()


def _poses(kind: str, numbers: np.random.Generator) -> bytes:
    """Two persons in two videos of five frames, in one of the forms that others use."""
    points = numbers.uniform(10, 200, (2, 5, 17, 3))
    points[..., 2] = 0.9
    points[1] += (150, 0, 0)
    if kind == "mmaction":
        annotation = {"keypoint": points[..., :2], "keypoint_score": points[..., 2], "total_frames": 5, "label": 0}
        return pickle.dumps({"split": {}, "annotations": [{"frame_dir": video, **annotation} for video in "ab"]}, 4)
    if kind == "poses":
        return _file(lambda path: np.savez(path, a=points[0], b=points[1, ..., :2]), ".npz")
    places = [(video, frame) for video in "ab" for frame in range(5)]
    images = [{"id": n, "file_name": f"{video}/{frame:03d}.jpg"} for n, (video, frame) in enumerate(places)]
    people = [
        {
            "image_id": n,
            "keypoints": points[person, frame].round(2).ravel().tolist(),
            "score": 0.9,
            "bbox": [1, 2, 9, 9],
        }
        | ({"track_id": person} if video == "a" else {})
        for n, (video, frame) in enumerate(places)
        for person in range(2)
    ]
    return json.dumps({"images": images, "annotations": people}).encode()


# ---------------------------------------------------------------------------------------------------- any file at all


def flipped(draw: Draw, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 2, 8, 64))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw: Draw, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _part(draw: Draw, content: bytes) -> tuple[int, int]:
    a, b = sorted((draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)))
    return a, min(b, a + draw.choice((1, 4, 64, 10**6)))


def dropped(draw: Draw, content: bytes) -> bytes:
    a, b = _part(draw, content)
    return content[:a] + content[b:]


def doubled(draw: Draw, content: bytes) -> bytes:
    a, b = _part(draw, content)
    return content[:b] + content[a:b] * draw.choice((1, 2, 50)) + content[b:]


def zeroed(draw: Draw, content: bytes) -> bytes:
    a, b = _part(draw, content)
    return content[:a] + bytes([draw.choice((0, 255))]) * (b - a) + content[b:]


def with_number(draw: Draw, content: bytes) -> bytes:
    """An absurd number somewhere, in one of the usual spellings."""
    value, form = draw.choice(ABSURD), draw.choice(("<I", ">I", "<Q", ">Q", "<H", "decimal"))
    number = str(value).encode() if form == "decimal" else struct.pack(form, value % (1 << 8 * struct.calcsize(form)))
    place = draw.randrange(len(content) + 1)
    return content[:place] + number + content[place + draw.choice((0, len(number))) :]


def with_noise(draw: Draw, content: bytes) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.randbytes(draw.choice((1, 16, 5000))) + content[place:]


def spliced(draw: Draw, content: bytes) -> bytes:
    """Its beginning and another kind's end."""
    other = valid(draw.choice(("zarr", "parquet", "model", "mat", "config")))
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other)) :]


def noise(draw: Draw, content: bytes) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 100, 10_000)))


ANYHOW = (flipped, flipped, flipped, cut, dropped, doubled, zeroed, with_number, with_noise, spliced, noise)


# --------------------------------------------------------------------------------------------------------------- JSON


def json_mutated(draw: Draw, value: Any) -> Any:
    """The value with something absurd in one place, or in several."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        changed = dict(value)
        key = draw.choice(sorted(changed))
        what = draw.random()
        if what < 0.7:
            changed[key] = json_mutated(draw, changed[key])
        elif what < 0.85:
            del changed[key]
        else:
            changed[draw.choice(("", "__class__", "../x", "x" * 1000))] = changed.pop(key)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.85:
        changed = list(value)
        place = draw.randrange(len(changed))
        changed[place] = json_mutated(draw, changed[place])
        return changed * draw.choice((1, 1, 1, 3)) if draw.random() < 0.9 else changed[:place]
    return draw.choice(ABSURD_JSON)


def json_text(draw: Draw, content: bytes) -> bytes:
    if draw.random() < 0.15:
        return draw.choice(
            (nested(200_000), nested(100_000, '{"a":', "}"), "[" * 100_000, '"' * 9, "1" * 5000)
        ).encode()
    return json.dumps(json_mutated(draw, json.loads(content))).encode()


# ---------------------------------------------------------------------------------------------------------------- zip


def unzip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: list[tuple[str, bytes]], packed: frozenset[str] = frozenset()) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries:
            how = zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED
            try:
                archive.writestr(zipfile.ZipInfo(name), content, how)
            except (ValueError, UnicodeError, struct.error):
                continue  # a name that no zip can hold
    return target.getvalue()


def zip_mutated(draw: Draw, content: bytes) -> bytes:
    """Entries renamed, doubled, lost, exchanged, or packed so that a small file becomes a large one."""
    entries = list(unzip(content).items())
    place = draw.randrange(len(entries))
    name, inside = entries[place]
    what = draw.randrange(7)
    packed: frozenset[str] = frozenset()
    if what == 0:
        entries[place] = (draw.choice(NAMES), inside)
    elif what == 1:
        entries.append((draw.choice(NAMES), draw.randbytes(20)))
    elif what == 2:
        entries.append((name, draw.choice((inside, draw.randbytes(20)))))
    elif what == 3:
        del entries[place]
    elif what == 4:
        other = draw.randrange(len(entries))
        entries[place], entries[other] = (name, entries[other][1]), (entries[other][0], inside)
    elif what == 5:
        entries[place] = (name, draw.choice(ANYHOW)(draw, inside))
    elif draw.random() < 0.1:
        entries[place], packed = (name, draw.choice((b" ", b"\0")) * BOMB_BYTES), frozenset((name,))
    else:
        packed = frozenset((name,))
    return zipped(entries, packed)


@functools.cache
def zstandard_bomb(size: int = 1 << 30) -> bytes:
    return bytes(numcodecs.Zstd(1).encode(np.zeros(size, np.uint8)))


def zarr_mutated(draw: Draw, content: bytes) -> bytes:
    """Absurd shapes, types, chunks and codecs in the metadata; chunks that unpack to something else."""
    entries = unzip(content)
    metadata = sorted(name for name in entries if name.endswith("zarr.json"))
    chunks = sorted(entries.keys() - set(metadata))
    name = draw.choice(metadata)
    described = json.loads(entries[name])
    what = draw.randrange(8)
    if what == 0 and "shape" in described:
        described["shape"] = draw.choice(
            ([2**40, 7], [2**62, 2**62], [10**13], [-1, 7], [40], [], [40, 7, 1], [0, 7], 5)
        )
    elif what == 1 and "shape" in described:
        described["chunk_grid"]["configuration"]["chunk_shape"] = draw.choice(
            ([2**40, 7], [0, 7], [-1, 7], [1, 1], [2**31, 2**31], [40], "x", [40.5, 7])
        )
    elif what == 2 and "shape" in described:
        described["data_type"] = draw.choice(
            (
                *("float128", "object", "string", "variable_length_bytes", "complex128", "bool", "int8", "r1000000000"),
                *(5, "O"),
                {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 2**40}},
                {"name": "fixed_length_utf32", "configuration": {"length_bytes": 2**40}},
            )
        )
    elif what == 3 and "shape" in described:
        described["codecs"] = draw.choice(
            (
                [],
                [{"name": "bytes"}],
                [{"name": "pickle"}],
                [{"name": "numcodecs.pickle", "configuration": {}}],
                [
                    {"name": "bytes", "configuration": {"endian": "big"}},
                    {"name": "gzip", "configuration": {"level": 5}},
                ],
                [{"name": "transpose", "configuration": {"order": [5, 9]}}, *described["codecs"]],
                described["codecs"] * 3,
                [
                    {
                        "name": "sharding_indexed",
                        "configuration": {
                            "chunk_shape": [1, 1],
                            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                            "index_location": draw.choice(("start", "end")),
                        },
                    }
                ],
            )
        )
    elif what == 4 and chunks:
        chunk = draw.choice(chunks)
        absurd = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", draw.choice((2**34, 2**45, 2**63)))
        entries[chunk] = draw.choice((zstandard_bomb(), absurd + draw.randbytes(50), zlib.compress(bytes(9999)), b""))
    elif what == 5:
        text = entries[name].decode()
        deep = draw.choice((nested(100_000), nested(900), nested(50_000, '{"a":', "}")))
        entries[name] = (
            text.replace('"attributes":{', f'"attributes":{{"deep":{deep},')
            .replace('"attributes": {', f'"attributes": {{"deep": {deep},')
            .encode()
        )
        return zipped(list(entries.items()))
    else:
        described = json_mutated(draw, described)
    entries[name] = json.dumps(described).encode()
    return zipped(list(entries.items()))


# ------------------------------------------------------------------------------------------------------------- Parquet


@functools.cache
def _long_table() -> pa.Table:
    return pa.table({"x": pa.array(np.zeros(60_000_000, np.int64))})


def parquet_mutated(draw: Draw, content: bytes) -> bytes:
    """Another table behind the same name: absurd provenance, types that no stage writes, too many rows."""
    table = pq.read_table(io.BytesIO(content))
    record = json.loads(table.schema.metadata[KEY])
    what = draw.randrange(6)
    if what == 0:
        record = json_mutated(draw, record)
    elif what == 1:
        columns = draw.choice(
            (
                {"video_id": pa.array([b"\xff", b"\0", None], pa.binary())},
                {"t": pa.array([0, 2**62, None], pa.timestamp("ns"))},
                {"d": pa.array([1.0, float("nan"), None])},
                {"n": pa.nulls(5)},
                {"s": pa.array([{"a": [1]}, None, {"a": []}])},
                {"k": pa.array(["a", "b", "a"]).dictionary_encode()},
                {"i": pa.array([10**30, 1, 2], pa.decimal128(38))},
                {"m": pa.array([[(1, "a")], None], pa.map_(pa.int64(), pa.string()))},
                {},
            )
        )
        table = pa.table(columns)
    elif what == 2:
        table = table.rename_columns([draw.choice((*NAMES[:5], "video_id", "video_id")) for _ in table.column_names])
    elif what == 3 and draw.random() < 0.05:
        table = _long_table()
    elif what == 4:
        text = draw.choice((nested(100_000), nested(900), "{}", "[]", "nul", '"x"', "1" * 5000, '{"a":' * 50_000))
        return _parquet(table, text.encode())
    else:
        length = draw.choice((0, 1, len(content), 2**31 - 1, 2**32 - 1))
        return content[:-8] + struct.pack("<I", length) + b"PAR1"
    return _parquet(table, json.dumps(record).encode())


def _parquet(table: pa.Table, metadata: bytes) -> bytes:
    target = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({KEY: metadata}), target, compression="zstd")
    return target.getvalue()


# ------------------------------------------------------------------------------------------------------------- tensors


def _hostile_pickle(draw: Draw) -> bytes:
    command = f"touch {CANARY}"
    return draw.choice(
        (
            b"cos\nsystem\n(S'" + command.encode() + b"'\ntR.",
            b"cbuiltins\neval\n(S'open(\"" + CANARY.encode() + b'", "w")\'\ntR.',
            b"csubprocess\nPopen\n((lS'touch'\naS'" + CANARY.encode() + b"'\natR.",
            b"ctorch\nload\n(S'/etc/passwd'\ntR.",
            b"c__builtin__\ngetattr\n(cos\npath\nS'join'\ntR.",
            b"ccollections\nOrderedDict\n)R}" + b"(" * 50_000 + b".",
            b"]" + b"h\0" * 1000 + b"q\0a" * 1000 + b".",
            b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
        )
    )


def pickle_mutated(draw: Draw, content: bytes) -> bytes:
    """Numbers of a pickle replaced: numbers of elements, sizes, strides, offsets."""
    found = [(place, name.name) for name, _, place in pickletools.genops(content) if name.name.startswith("BININT")]
    if not found:
        return content
    for place, name in sorted(draw.sample(found, min(len(found), draw.choice((1, 1, 2, 5)))), reverse=True):
        width = {"BININT": 5, "BININT1": 2, "BININT2": 3}[name]
        number = draw.choice(ABSURD)
        coded = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        content = content[:place] + b"\x8a" + bytes([len(coded)]) + coded + content[place + width :]
    return content


def tensor_mutated(draw: Draw, content: bytes) -> bytes:
    """Pickles that call something, absurd sizes, other JSON, the old format of torch."""
    what = draw.randrange(5)
    if what == 0:
        return _hostile_pickle(draw)
    if what == 1:
        target = io.BytesIO()
        loaded = torch.load(io.BytesIO(content), weights_only=True)
        torch.save(loaded, target, _use_new_zipfile_serialization=False)
        return draw.choice((*ANYHOW, _pickles_mutated))(draw, target.getvalue())
    entries = unzip(content)
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    if what == 2:
        entries[pickled] = _hostile_pickle(draw)
    elif what == 3:
        entries[pickled] = pickle_mutated(draw, entries[pickled])
    else:
        loaded = torch.load(io.BytesIO(content), weights_only=True)
        target = io.BytesIO()
        torch.save(_value_mutated(draw, loaded), target)
        return target.getvalue()
    return zipped(list(entries.items()))


def _pickles_mutated(draw: Draw, content: bytes) -> bytes:
    try:
        return pickle_mutated(draw, content)
    except ValueError:
        return flipped(draw, content)


def _value_mutated(draw: Draw, value: Any) -> Any:
    odd = (
        torch.zeros(()),
        torch.zeros(0, 5),
        torch.zeros(1).expand(2**40),
        torch.zeros(1, 1).expand(2**20, 2**20),
        torch.full((3, 5), float("nan")),
        torch.zeros(3, 5, dtype=torch.complex64),
        torch.zeros(3, 5, dtype=torch.bfloat16),
        torch.zeros(3, 5).to_sparse(),
        torch.zeros(2, 3, dtype=torch.int8),
        None,
        "x",
        [1],
        10**30,
    )
    if not isinstance(value, dict):
        return draw.choice(odd)
    changed = dict(value)
    key = draw.choice(sorted(changed))
    if key == "json" and draw.random() < 0.8:
        changed[key] = json_text(draw, changed[key].encode()).decode(errors="replace")
    elif draw.random() < 0.1:
        del changed[key]
    else:
        changed[key] = draw.choice(odd)
    return changed


# ------------------------------------------------------------------------------------------------------------- MATLAB


def _cells(depth: int) -> np.ndarray:
    value = np.zeros((1, 1))
    for _ in range(depth):
        cell = np.empty((1, 1), object)
        cell[0, 0] = value
        value = cell
    return value


def mat_mutated(draw: Draw, content: bytes) -> bytes:
    """Other classes, shapes and versions behind the names of Penn Action's arrays."""
    values: dict[str, Any] = {name: np.ones((6, 13)) for name in ("x", "y", "visibility")} | {"bbox": np.ones((6, 4))}
    name = draw.choice(sorted(values))
    what = draw.randrange(6)
    if what == 0:
        values[name] = draw.choice(
            (
                "text",
                {"a": 1},
                _cells(1),
                _cells(200),
                scipy.sparse.eye(5).tocsc(),
                np.zeros((0, 0)),
                np.full((6, 13), np.nan),
                np.ones((6, 13), complex),
                np.ones((2, 3, 4)),
                np.ones((6, 12)),
                np.array([[b"x"]], object),
            )
        )
    elif what == 1:
        del values[name]
    elif what == 2 and draw.random() < 0.1:
        values[name] = np.zeros((1 << 22, 13))
    elif what == 3:
        target = io.BytesIO()
        scipy.io.savemat(target, values, format="4")
        return draw.choice(ANYHOW)(draw, target.getvalue())
    elif what == 4:
        return (
            draw.choice((b"MATLAB 7.3 MAT-file", b"MATLAB 5.0 MAT-file")).ljust(124)
            + draw.choice((b"\0\x02IM", b"\0\x01IM", b"\x01\0MI"))
            + draw.randbytes(300)
        )
    target = io.BytesIO()
    scipy.io.savemat(target, values, do_compression=draw.random() < 0.3)
    written = bytearray(target.getvalue())
    if what == 5:  # dimensions stand behind the tag of an int32 array of two numbers
        place = written.find(struct.pack("<II", 5, 8), 128)
        if place > 0:
            struct.pack_into("<ii", written, place + 8, *(draw.choice((2**31 - 1, -1, 2**20, 0)) for _ in range(2)))
    return bytes(written)


# --------------------------------------------------------------------------------------------------------------- text


def _laughs(depth: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth)]
    return "\n".join(lines) + "\n"


YAML_PIECES = (
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"!!python/object/new:subprocess.Popen [['touch', '{CANARY}']]",
    "!!python/name:os.system",
    "!!binary AAAA",
    "&a [*a]",
    "&a {*a : *a}",
    "? [a]\n: b",
    "{[1]: 2}",
    "{1: 2, null: 3, 1.5: 4, true: 5}",
    "<<: [1, 2]",
    "<<: *nowhere",
    "2001-99-99",
    "2001-01-01T99:99:99Z",
    "9" * 5000,
    "0x" + "f" * 9000,
    "1:" * 3000 + "1",
    ".nan",
    "-.inf",
    "1e999999",
    nested(5000),
    nested(2000, "{a: ", "}"),
    "- " * 3000 + "x",
    _laughs(9),
    "--- a\n--- b",
    "%YAML 9.9\n---\n{}",
    "\t- x",
    "'",
    '"\\ud800"',
    "\x00",
    "\x85\u2028",
    "null",
    "[]",
    "",
    "datasets: null",
    "datasets: {d: null, 5: {}, '': {}}",
)
TEXT_PIECES = (
    *("\0", "\ufeff", "\r", "\x1c", "\u2028", ",", ",,,,", '"', '""', "\\", "../../../etc/passwd", "/etc/passwd"),
    *(
        "~",
        "%2e%2e",
        "9" * 5000,
        "-1",
        "1e9",
        "nan",
        "²",
        "٣",
        "x" * 100_000,
        " " * 10_000,
        "a b c d",
        "\n" * 1000,
        "é",
    ),
    *("label", "0", "videos/", ".mp4", "con", "|", "$(touch executed)", "{wildcard}", "{{", "%s", "\ud800"),
)


def text_mutated(draw: Draw, content: bytes, pieces: tuple[str, ...] = TEXT_PIECES) -> bytes:
    text = content.decode()
    for _ in range(draw.choice((1, 1, 2, 6))):
        piece = draw.choice(pieces)
        words = text.split(" ")
        place = draw.randrange(len(text) + 1)
        how = draw.randrange(3)
        if how == 0:
            text = text[:place] + piece + text[place:]
        elif how == 1:
            words[draw.randrange(len(words))] = piece
            text = " ".join(words)
        else:
            lines = text.split("\n")
            lines[draw.randrange(len(lines))] = piece
            text = "\n".join(lines)
    coding = draw.choice(("utf-8",) * 6 + ("utf-16", "latin-1"))
    return text.encode(coding, errors="replace" if coding == "latin-1" else "surrogatepass")


def yaml_mutated(draw: Draw, content: bytes) -> bytes:
    if draw.random() < 0.4:
        return text_mutated(draw, content, YAML_PIECES)
    if draw.random() < 0.1:
        return draw.choice(YAML_PIECES).encode(errors="surrogatepass")
    changed = json_mutated(draw, yaml.safe_load(content))
    return json.dumps(changed).encode()


def pickled(draw: Draw, content: bytes) -> bytes:
    """Other numbers in a pickle, calls in it, or other values where arrays were."""
    what = draw.randrange(3)
    if what == 0:
        return _hostile_pickle(draw)
    if what == 1:
        return _pickles_mutated(draw, content)
    value = pickle.loads(content)
    annotation = value["annotations"][draw.randrange(2)]
    annotation[draw.choice(sorted(annotation))] = _array_or_not(draw)
    return pickle.dumps(value, draw.choice((0, 2, 4, 5)))


def arrays_mutated(draw: Draw, content: bytes) -> bytes:
    """Other shapes, types and numbers."""
    values = {"a": _array_or_not(draw), "b": np.ones((5, 17, 2))}
    return _file(lambda path: np.savez(path, **{key: np.asarray(value) for key, value in values.items()}), ".npz")


def _array_or_not(draw: Draw) -> Any:
    shape = draw.choice(
        ((2, 5, 17, 2), (5, 17, 3), (5, 17, 2), (2, 5, 17), (0, 17, 2), (2, 0, 17, 2), (1, 5, 17, 3), ())
    )
    fill = draw.choice((0, 1, -1, 50, 1e-9, 1e38, 1e300, float("nan"), float("inf"), 97.5))
    dtype = draw.choice((np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_, np.complex64, "U5", "M8[s]"))
    with np.errstate(all="ignore"):
        array = np.full(shape, 50 if np.dtype(dtype).kind in "iuUM" else fill).astype(dtype)
    return draw.choice((array, array, array, array, None, "x", [1], 10**30, {}, b"x"))


# A mutation that knows the structure of its file gets as far as one that does not is refused.
KNOWING: dict[str, tuple[Callable[[Draw, bytes], bytes], ...]] = {
    "zarr": (zarr_mutated, zip_mutated),
    "parquet": (parquet_mutated,),
    "model": (tensor_mutated, zip_mutated),
    "tensor": (tensor_mutated, zip_mutated),
    "mat": (mat_mutated,),
    "coco": (json_text,),
    "mmaction": (pickled,),
    "poses": (zip_mutated, arrays_mutated),
    "boxes": (text_mutated,),
    "skeleton": (yaml_mutated,),
    "list": (text_mutated,),
    "generated": (text_mutated,),
    "labels": (json_text,),
    "keyframes": (text_mutated,),
    "candidates": (text_mutated,),
    "config": (yaml_mutated,),
}
KINDS = tuple(KNOWING)


def mutated(kind: str, seed: int) -> bytes:
    """The bytes of one broken or hostile file; the same for the same seed."""
    draw = random.Random(f"{kind} {seed}")
    content = valid(kind)
    if draw.random() < 0.6:
        return draw.choice(KNOWING[kind])(draw, content)
    return draw.choice(ANYHOW)(draw, content)
