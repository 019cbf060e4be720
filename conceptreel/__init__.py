"""Conceptreel: action recognition that explains itself.

``load`` opens a model of any method; ``read_table`` and ``read_arrays`` read what lies in ``results``. The
implementation is the package ``pipeline``.

>>> import conceptreel
>>> model = conceptreel.load("results/demo/model.pt")
>>> print(model.predict("my.mp4"))
"""

from pipeline import __version__
from pipeline.data.readers import VideoError
from pipeline.methods.models import Decision, Model, load
from pipeline.settings import ConfigError
from pipeline.store.arrays import Arrays, read_arrays
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown
from pipeline.store.tables import read_table

__all__ = [
    "Arrays",
    "ArtifactError",
    "ConfigError",
    "Decision",
    "Model",
    "NameUnknown",
    "StageError",
    "VideoError",
    "__version__",
    "load",
    "read_arrays",
    "read_table",
]
