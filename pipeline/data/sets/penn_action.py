"""Penn Action (Zhang, Zhu & Derpanis 2013): a folder of frames and a file of annotations per video."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.entries import Entry, ListError
from pipeline.data.sets.listing import Listing, folder_of, own_class_list

# By the flag in the annotations. Published features follow lists that leave out three videos (1,256 and 1,067).
PUBLISHED = {"train": 1258, "test": 1068}


def _flags(path: Path) -> tuple[str, str]:
    """Action and split of one video, from its annotations."""
    import scipy.io  # half a second, which only this data set should cost

    try:
        content = scipy.io.loadmat(path, variable_names=["action", "train"])
        return str(content["action"].item()), "train" if int(content["train"].item()) == 1 else "test"
    except Exception as error:  # scipy raises many types for damaged bytes
        raise ListError(f"{path} is not an annotation of Penn Action ({type(error).__name__}: {error})") from None


def read(settings, root: Path) -> Listing:
    """One entry per file of annotations; its frames are ``frames/0001/000001.jpg`` and so on."""
    videos = folder_of(root, settings.videos, "frames")
    names = own_class_list(settings, root, "penn_action")
    folder = root / "labels" if (root / "labels").is_dir() else root / "annotations" / "labels"
    files = sorted(folder.glob("[0-9]*.mat"))
    if not files:
        raise ListError(f"{root / 'labels'} holds no annotations such as 0001.mat; they come with the data set")
    entries = []
    for file in files:
        action, split = _flags(file)
        label = names.index(action) if action in names else None
        entries.append(
            Entry(
                video_id=file.stem,
                path=file.stem,
                labels=() if label is None else (label,),
                class_names=() if label is None else (action,),
                split=split,
                listed=split,
                problem=None if label is not None else f"class `{action}` is not in the class list",
            )
        )
    return Listing(names, entries, videos, PUBLISHED)
