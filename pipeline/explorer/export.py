"""A run as a folder that any web host can serve, from any place on it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from pipeline.explorer.files import page_files
from pipeline.methods.explored import Explored
from pipeline.store.atomic import new_folder

# Some hosts run what they are given through a page generator, which leaves out names that it does not like.
AS_IT_IS = ".nojekyll"


def export(explored: Explored, out: Path) -> list[str]:
    """Write page, data and pictures; what a page cannot do alone it does not offer.

    Returns:
        lines that tell what was written.

    Raises:
        StageError: the folder exists and is not empty.
    """
    with new_folder(out) as folder:
        for name, path in page_files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        (folder / AS_IT_IS).touch()
        for name in explored.names():
            content = explored.read(name, live=False)
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    written = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in written) / 1e6
    return [
        f"wrote {out}: {len(written)} files, {size:.1f} MB",
        f"look at it with `python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(out))}`",
    ]
