"""Stage `generate_graphs`: the demo's scene graphs, their list and who takes part in what, made from a seed."""

from __future__ import annotations

import numpy as np

from pipeline.demo.graphs import FPS, OBJECTS, RELATIONS, class_names, draw_graphs
from pipeline.demo.settings import Graphs
from pipeline.jobs import stage
from pipeline.store.atomic import replace_when_done


def build(job: stage.Job) -> None:
    """Write the list, and of all videos the arrays of `pipeline.demo.graphs.Drawn` with a leading axis ``[n]``.

    Beside them spans ``[k, 4]``: row of the video, class, first second, end.
    """
    settings = Graphs.model_validate(job.settings)
    names = class_names(settings)
    drawn = list(draw_graphs(settings))
    lines = ["split,path,label,class,actor"]
    for planned, _ in drawn:
        labels = planned.labels()
        labelled = ";".join(map(str, labels)), ";".join(names[label] for label in labels)
        lines.append(",".join([planned.split, planned.video_id, *labelled, planned.subject]))
    with replace_when_done(job.outputs["lists"]) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    parts = ("features", "box", "present", "node_class", "relations", "owned")
    arrays = {name: np.stack([getattr(own, name) for _, own in drawn]) for name in parts}
    arrays["spans"] = np.array(
        [(row, label, first / FPS, end / FPS) for row, (_, own) in enumerate(drawn) for label, first, end in own.spans],
        np.float32,
    )
    content = {
        "video_id": [planned.video_id for planned, _ in drawn],
        "subject": [planned.subject for planned, _ in drawn],
        "class_names": names,
        "node_classes": ["person", *OBJECTS[: settings.objects]],
        "relations": list(RELATIONS),
        "fps": FPS,
    }
    job.write_arrays("truth", arrays, content, n_ok=len(drawn))


if __name__ == "__main__":
    stage.run("generate_graphs", build)
