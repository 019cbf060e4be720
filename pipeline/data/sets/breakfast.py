"""Breakfast (Kuehne et al. 2014): minutes of cooking, with a label per frame at 15 frames per second.

Split of video-level recognition: persons P03–P46 train, P47–P54 test. Lists of others have other names of a film:
`P47-stereo-P47_cereals_ch0` is `P47_stereo01_P47_cereals`.
"""

from __future__ import annotations

import functools
import itertools
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.entries import Entry, ListError, Segment, read_class_list
from pipeline.data.lines import text_of
from pipeline.data.sets.listing import Listing, find_file

MAPPING, FOLDER, ARCHIVE = "mapping_bf.txt", "groundTruth", "groundTruth.tar.gz"
FRAMES_PER_SECOND = 15
FIRST_TEST_PERSON = 47
# A label file of ten hours; what claims more is damaged.
LARGEST_FILE = 10 << 20
PUBLISHED = {"train": 1357, "test": 355}
_NAME = re.compile(r"(?P<person>P(?P<number>\d\d))_(?P<camera>[a-z]+\d*)_(?P<film>P\d\d_(?P<activity>[a-z]+))")


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    """Name without suffix and text of every label file, from the folder or the archive; nothing is unpacked to disk."""
    folder = root / FOLDER
    try:
        if folder.is_dir():
            for path in sorted(folder.glob("*.txt")):
                yield path.stem, text_of(path.read_bytes())
            return
        with tarfile.open(find_file(root, ARCHIVE)) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".txt"):
                    if member.size > LARGEST_FILE:
                        raise ListError(f"{root / ARCHIVE}: {member.name} claims {member.size} bytes; it is damaged")
                    yield Path(member.name).stem, text_of(archive.extractfile(member).read())
    except (OSError, EOFError, tarfile.TarError, UnicodeDecodeError) as error:
        raise ListError(f"the label files below {root} cannot be read ({error})") from None


def _segments(name: str, text: str, number_of: dict[str, int]) -> tuple[Segment, ...]:
    """Runs of one label, in seconds."""
    found, frame = [], 0
    for label, run in itertools.groupby(text.split()):
        if label not in number_of:
            raise ListError(f"{name}.txt, line {frame + 1}: the label `{label}` is not in {MAPPING}")
        end = frame + sum(1 for _ in run)
        found.append(Segment(frame / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND, number_of[label]))
        frame = end
    return tuple(found)


def _path(match: re.Match[str]) -> str:
    """Where the authors' archive has the film: `P03/cam01/P03_cereals.avi`, `P03/stereo/P03_cereals_ch0.avi`."""
    if match["camera"].startswith("stereo"):
        return f"{match['person']}/stereo/{match['film']}_ch0.avi"
    return f"{match['person']}/{match['camera']}/{match['film']}.avi"


@functools.lru_cache(maxsize=4)
def _films(root: Path, stamp: int) -> list[tuple[re.Match[str], tuple[Segment, ...]]]:
    names = read_class_list(root / MAPPING)
    number_of = {name: number for number, name in enumerate(names)}
    found = []
    for name, text in _texts(root):
        match = _NAME.fullmatch(name)
        if not match:
            raise ListError(
                f"{name}.txt is not a label file of Breakfast; their names look like P03_cam01_P03_cereals.txt"
            )
        found.append((match, _segments(name, text, number_of)))
    if not found:
        raise ListError(f"{root / FOLDER} holds no label file")
    return found


def read(settings, root: Path) -> Listing:
    """One entry per label file, with the unit actions in it and when they are shown; or with its activity alone."""
    find_file(root, MAPPING)
    source = root / FOLDER if (root / FOLDER).is_dir() else find_file(root, ARCHIVE)
    films = _films(root, source.stat().st_mtime_ns)
    activities = sorted({match["activity"] for match, _ in films})
    as_activity = settings.source == "breakfast_activities"
    names = activities if as_activity else read_class_list(root / MAPPING)
    entries = []
    for match, segments in films:
        split = "test" if int(match["number"]) >= FIRST_TEST_PERSON else "train"
        own = [activities.index(match["activity"])] if as_activity else sorted({part.label for part in segments})
        entries.append(
            Entry(
                video_id=match[0],
                path=_path(match),
                labels=tuple(own),
                class_names=tuple(names[label] for label in own),
                split=split,
                listed=split,
                group=match["person"],
                segments=() if as_activity else segments,
            )
        )
    return Listing(names, entries, settings.videos, PUBLISHED)


def activity_of(video_id: str) -> str:
    """The activity that the name of a film ends with."""
    return video_id.rsplit("_", 1)[-1]
