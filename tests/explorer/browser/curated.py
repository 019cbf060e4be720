"""A run that people have curated, without the pipeline's rules for that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pipeline.methods.dance.explore.run import Run
from pipeline.methods.registry import METHODS


class Curated(Run):
    """A run whose curation is a JSON file: what the page is told and asks for, without the pipeline's rules."""

    @property
    def _marks(self) -> Path:
        return self.folder / "curation.json"

    def _curation(self) -> dict[str, Any]:
        marks = json.loads(self._marks.read_text()) if self._marks.is_file() else {}
        rows = [
            {
                "id": f"{kind}:{name}",
                "type": kind,
                "digest": name,
                "was": name,
                "name": name,
                "words": "",
                "videos": None,
                "state": "kept",
                "into": None,
                "approved": False,
                "note": "",
                **marks.get(f"{kind}:{name}", {}),
            }
            for kind, name in zip(self.core.types, self.core.concepts, strict=True)
        ]
        rows.append({**rows[0], "id": "motion:gone", "was": "a motion of old", "name": "old <b>", "state": "unknown"})
        return {
            "concepts": rows,
            "outdated": "structure" if marks else "",
            "command": "snakemake results/small/model.pt",
        }

    def actions(self) -> dict[str, Any]:
        return {"state": self._state, "save": self._save, "curate": self.curate}

    def curate(self, told: Any) -> dict[str, Any]:
        marks = json.loads(self._marks.read_text()) if self._marks.is_file() else {}
        for change in told["changes"]:
            own, action = marks.setdefault(change["concept"], {}), change["action"]
            if action == "name":
                own["name"] = change["name"]
            elif action == "approve":
                own["approved"] = True
            elif action == "drop":
                own["state"] = "dropped"
            elif action == "merge":
                for other in change["with"]:
                    marks.setdefault(other, {}).update(state="merged", into=change["concept"])
            elif action == "forget":
                marks.pop(change["concept"])
        self._marks.write_text(json.dumps(marks))
        return self._curation()


def copied(folder: Path, tmp_path: Path) -> Curated:
    """A run of one's own, to write into."""
    shutil.copytree(folder, tmp_path / "small")
    return Curated(tmp_path / "small", METHODS["dance"])
