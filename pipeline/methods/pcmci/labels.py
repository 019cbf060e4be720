"""Stage `pcmci_labels`: the texts of the labels and their embeddings by the dual encoder."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.data.table import read_index
from pipeline.jobs import stage
from pipeline.methods.pcmci.look import loaded
from pipeline.store.names import NameUnknown, find


def texts_of(names: list[str], prompt: str, own: Mapping[str, str]) -> list[str]:
    """The text of every label.

    Raises:
        NameUnknown: a text is given for a label that there is not; has the nearest ones.
    """
    for name in own:
        find(name, names, "label with a text in pcmci.labels.texts")
    return [own.get(name) or prompt.replace("{}", name.replace("_", " ")) for name in names]


def build(job: stage.Job) -> None:
    """Write ``labels`` ``[N, E]``, unit rows in the order of the class names."""
    names = read_index(job).class_names
    try:
        texts = texts_of(names, job.settings["prompt"], job.settings["texts"])
    except NameUnknown as error:
        raise stage.StageError(str(error)) from None
    encoder = loaded(job.settings["encoder"], "dual_encoder", job.runtime)
    content = {"class_names": names, "texts": texts}
    job.write_arrays("labels", {"labels": encoder.texts(texts)}, content, n_ok=len(names))


if __name__ == "__main__":
    stage.run("pcmci_labels", build)
