"""The one error of this package."""

from __future__ import annotations

from pipeline.store.atomic import StageError


class ForeignFileError(StageError):
    """A file or folder that someone else made cannot be used; one line says which, why, and what would be right."""
