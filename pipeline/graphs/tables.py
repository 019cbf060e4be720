"""Stage `graph_tables`: boxes, relations and labelled segments of all videos, one row each, whatever their source."""

from __future__ import annotations

from pathlib import Path

from pipeline.graphs import rows
from pipeline.graphs.settings import Tables as Settings
from pipeline.graphs.sources import cad120, charades_ag, generated
from pipeline.jobs import stage


def read(settings: Settings, root: Path, job: stage.Job) -> rows.Tables:
    """The tables of one source."""
    if settings.source == "generated":
        ((arrays, attributes),) = job.read_arrays("truth")
        return generated.read(arrays, attributes)
    if settings.source == "cad120":
        return cad120.read(root, settings.detector_relations)
    if settings.source == "charades_ag":
        return charades_ag.read(root, settings.fps, settings.fps_file)
    return _written(settings, root)


def _written(settings: Settings, root: Path) -> rows.Tables:
    """Tables that a user names; relations may be left to geometry."""
    if not settings.boxes:
        raise stage.StageError("graphs.tables.source is `table`: name a file of boxes in graphs.tables.boxes")
    boxes = rows.read_file(root / settings.boxes, rows.BOXES, "table", settings.nodes == "given")
    if settings.relations:
        related = rows.read_file(root / settings.relations, rows.RELATIONS, "table")
    else:
        related = rows.RELATIONS.empty_table()
    timed = [_with_times(each, settings.fps) for each in (boxes, related)]
    return rows.Tables(*timed)


def _with_times(table, fps: float):
    """The table with seconds; a frame is as long as the rate says, or as one second where none is needed."""
    import numpy as np
    import pyarrow as pa

    times = table["time_s"].to_numpy(zero_copy_only=False)
    known = np.isfinite(times)
    if known.all():
        return table
    if not fps:
        raise stage.StageError(
            "a table of graphs.tables has rows without time_s; write the column, or name one rate in graphs.tables.fps"
        )
    times = np.where(known, times, table["frame"].to_numpy(zero_copy_only=False) / fps)
    position = table.schema.get_field_index("time_s")
    return table.set_column(position, table.schema.field("time_s"), pa.array(times, pa.float32()))


def build(job: stage.Job) -> None:
    settings = Settings.model_validate(job.settings)
    found = read(settings, job.root, job)
    boxes, invisible = rows.visible(found.boxes)
    notes = [*found.notes]
    if invisible:
        notes.append(f"{invisible} of {len(found.boxes)} boxes show nothing (null, or of no extent): invisible")
    if settings.source == "table" and settings.nodes != "given":
        boxes = rows.with_nodes(boxes, settings.nodes)
    for note in notes:
        job.warn(note)
    if not len(boxes):
        raise stage.StageError("graphs.tables: no box is visible")
    job.write_table("segments", found.segments)
    job.write_table("boxes", boxes)
    job.write_table("relations", found.relations)


if __name__ == "__main__":
    stage.run("graph_tables", build)
