"""A run of DANCE as the explorer shows it, see `pipeline.methods.explored.Explored`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from pipeline.methods.explored import Upload, pages_of, read_page
from pipeline.methods.registry import Method
from pipeline.settings import ConfigError
from pipeline.store.atomic import ArtifactError
from pipeline.store.plain import as_json

_TRIED = re.compile(r"media/try/([0-9a-f]{16})/(clip\.webp|thumb\.webp|maps\.f32)")
_NAMED = re.compile(r"(data/path|media/(?:thumb|clip|maps|medoid))/(0|[1-9][0-9]{0,8})\.(webp|json|f32)")


class Run:
    """The model of a run with what it has seen; everything is read when it is first asked for."""

    def __init__(self, folder: Path, method: Method):
        self.folder, self.method = folder, method
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}
        self._model = ()

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made by the first thread that asks."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _renew(self) -> None:
        """Forget everything where the model was made again since: its names, or all of it."""
        about = (self.folder / "model.pt").stat()
        with self._lock:
            if self._model != (about.st_ino, about.st_mtime_ns):
                self._model = about.st_ino, about.st_mtime_ns
                self._made = {}

    @property
    def core(self) -> Any:
        from pipeline.methods.dance.bottleneck.recogniser import read_model

        return self._once("core", lambda: read_model(self.folder / "model.pt"))

    @property
    def cached(self) -> Any:
        from pipeline.methods.dance.explain.cached import read_cached

        return self._once("cached", lambda: read_cached(self.folder, self.core))

    @property
    def media(self) -> Any:
        from pipeline.methods.dance.explore.media import Media

        return self._once("media", lambda: Media(self.folder, self.core))

    @property
    def lambdas(self) -> Any:
        from pipeline.methods.dance.explore.lambdas import Lambdas

        return self._once("lambdas", lambda: Lambdas(self.folder, self.core, self.cached))

    @property
    def attempts(self) -> Any:
        from pipeline.methods.dance.explore.attempt import Attempts

        return self._once("attempts", lambda: Attempts(self.core))

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of files that the model can look at; none where its features were imported."""
        computed = self.core.about.get("features", {}).get("source") == "computed"
        return (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES) if computed else ()

    def warm(self) -> None:
        """Read model and activations."""
        self.read("data/explore.json", live=True)
        self.read("data/clips.json", live=True)

    def described(self, live: bool) -> dict[str, Any]:
        """``data/explore.json``, which a page reads first."""
        self._renew()
        from pipeline.methods.dance.explore import curated, described

        core, cached, media = self.core, self.cached, self.media
        figures = core.about.get("metrics", {})
        problems = []
        try:
            curation = self._curation()
        except (ArtifactError, ConfigError) as error:
            curation = None
            problems.append(str(error))
        rows = curated.of_model(core, curation["concepts"]) if curation else {}
        return {
            "live": live,
            "view": "concepts",
            "title": core.about["dataset"],
            "data_set": core.about["dataset"],
            "method": self.method.name,
            "kind": core.about.get("kind"),
            "classes": core.class_names,
            "splits": described.splits_of(cached.split),
            "n": len(cached.video_id),
            "concepts": described.concepts(core, self._alike(), rows),
            "bias": core.bias.tolist(),
            "pooling": core.about["maps"]["pooling"] if core.has_maps else None,
            "figures": {
                "accuracy": self._once("accuracy", lambda: described.accuracy(core, cached)),
                "nonzero": int(np.count_nonzero(core.weight)),
                "warnings": [*figures.get("warnings", []), *problems],
                "poses": figures.get("poses"),
            },
            "path": self.lambdas.described(),
            "chosen": self.lambdas.chosen,
            "unseen": {"threshold": core.reach.limit} if core.reach else None,
            "curation": curation,
            "edits": core.about.get("edits", []),
            "media": {"thumb": media.there, "clip": media.there},
            "skeleton": described.joints_of(core),
            "suffixes": list(self.suffixes) if live else [],
            "pages": pages_of(self.folder, self.method),
        }

    def _alike(self) -> list[Any]:
        from pipeline.methods.dance.explore.described import look_alikes

        cached = self.cached
        return self._once("alike", lambda: look_alikes(cached.z[cached.split == "train"]))

    def names(self) -> Iterator[str]:
        """See `pipeline.methods.explored.Explored`."""
        yield from ("data/explore.json", "data/clips.json", "data/z.f32", "data/weights.f32")
        yield from (f"data/path/{number}.f32" for number in range(len(self.lambdas.stops)))
        yield from (f"media/medoid/{m}.webp" for m in range(len(self.core.concepts)) if self.media.has_medoid(m))
        yield from (page["href"] for page in pages_of(self.folder, self.method))
        for row, video_id in enumerate(self.cached.video_id):
            if self.media.has(video_id):
                yield from (f"media/thumb/{row}.webp", f"media/clip/{row}.json", f"media/clip/{row}.webp")
                if self.core.has_maps:
                    yield f"media/maps/{row}.f32"

    def read(self, name: str, live: bool) -> bytes | None:
        """See `pipeline.methods.explored.Explored`."""
        whole: dict[str, Callable[[], bytes]] = {
            "data/explore.json": lambda: _text(self.described(live)),
            "data/clips.json": self._clips,
            "data/z.f32": lambda: _floats(self.cached.z),
            "data/weights.f32": lambda: _floats(self.core.weight),
        }
        if name in whole:
            return whole[name]()
        if named := _NAMED.fullmatch(name):
            kind, number, suffix = named.groups()
            return self._numbered(f"{kind}.{suffix}", int(number))
        if tried := _TRIED.fullmatch(name):
            return self.attempts.read(*tried.groups()) if live else None
        return read_page(self.folder, self.method, name)

    def _clips(self) -> bytes:
        from pipeline.methods.dance.explore import described

        def make() -> bytes:
            kept = [self.media.has(video_id) for video_id in self.cached.video_id]
            told = kept if len({*kept}) == 2 else None
            return _text(described.clips(self.cached, self.media.seconds(), told))

        return self._once("clips_text", make)

    def _numbered(self, kind: str, number: int) -> bytes | None:
        """A file of one clip by its row, of one concept, or of one stop of the path."""
        if kind == "data/path.f32":
            weights = self.lambdas.weights(number)
            return None if weights is None else _floats(weights)
        if kind == "media/medoid.webp":
            return self.media.medoid(number) if number < len(self.core.concepts) else None
        if number >= len(self.cached.video_id):
            return None
        video_id = self.cached.video_id[number]
        if kind == "media/maps.f32":
            maps = self.media.maps(video_id)
            return None if maps is None else _floats(maps)
        if kind == "media/clip.json":
            about = self.media.clip(number, video_id)
            return None if about is None else _text(about)
        made = {"media/thumb.webp": self.media.thumb, "media/clip.webp": self.media.sheet}.get(kind)
        return made(video_id) if made else None

    def actions(self) -> Mapping[str, Callable[[Any], dict[str, Any]]]:
        """See `pipeline.methods.explored.Explored`."""
        return {"state": self._state, "save": self._save, "curate": self._curate}

    def _state(self, _: Any) -> dict[str, Any]:
        return {"edits": self.core.about.get("edits", []), "curation": self._curation()}

    def _curation(self) -> dict[str, Any] | None:
        """What people have said of the concepts; None for a model that was imported, or copied without its run."""
        from pipeline.methods.dance.explore import curated

        return curated.state(self.folder) if (self.folder / "bottleneck").is_dir() else None

    def _curate(self, told: Any) -> dict[str, Any]:
        from pipeline.methods.dance.explore.curated import curate

        with self._lock:
            return curate(self.folder, told)

    def _save(self, told: Any) -> dict[str, Any]:
        from pipeline.methods.dance.explore.changes import save

        return save(self.core, self.folder, told)

    def attempt(self, upload: Upload) -> dict[str, Any]:
        """See `pipeline.methods.explored.Explored`."""
        return self.attempts.attempt(upload)


def _text(value: Any) -> bytes:
    return as_json(value, None).encode()


def _floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def open_run(folder: Path, method: Method) -> Run:
    """The run below ``results/<data set>``.

    Raises:
        ArtifactError: there is none.
    """
    if not (folder / "model.pt").is_file():
        raise ArtifactError(f"{folder} has no model.pt; `snakemake --cores all {folder}/model.pt` makes it")
    return Run(folder, method)
