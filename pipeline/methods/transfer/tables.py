"""Tables 2 to 5 of the paper, of our runs: ``conceptreel transfer RESULTS… --table 2``."""

from __future__ import annotations

from pathlib import Path

from pipeline.methods.transfer.measure import BACKGROUNDS, BASE, PREFIX, Predictions, by_run, paired
from pipeline.methods.transfer.protocol import Figures, averaged
from pipeline.store.atomic import StageError
from pipeline.store.tables import read_table

Runs = dict[tuple[int, int], Figures]
TUNED = ", tuned"


def opened(folders: list[Path]) -> list[Predictions]:
    """Predictions of finished runs.

    Raises:
        StageError: a run is not finished.
    """
    found = []
    for folder in folders:
        path = folder / "transfer" / "predictions.parquet"
        if not path.is_file():
            raise StageError(f"{path} does not exist; `snakemake --cores all {folder}/transfer/model.pt` makes it")
        found.append(Predictions.of(*read_table(path)))
    return found


def joined(runs: list[Predictions], level: str, background: str) -> dict[str, Runs]:
    """Model → figures by training set and seed. Runs of one set each are put together; a tuned backbone is told apart.

    Raises:
        StageError: a model was judged twice for one set and seed, or on other classes.
    """
    found: dict[str, Runs] = {}
    if len({tuple(item.about["class_names"]) for item in runs}) > 1:
        raise StageError("these runs have other classes; give those of one data set at a time")
    for item in runs:
        own = item.where(level=level, background=background)
        for model in own.values("model"):
            name = f"{model}{TUNED}" if item.about.get("tuned") else model
            here = by_run(own.where(model=model))
            if set(here) & set(found.get(name, {})):
                raise StageError(f"two of these runs judge {name} on the same training set; give one of them")
            found.setdefault(name, {}).update(here)
    return found


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _markdown(title: str, columns: list[str], rows: list[str]) -> list[str]:
    return [title, "", _row("model", columns), "|---" * (len(columns) + 1) + "|", *rows]


def _known_unknown(title: str, found: dict[str, Runs]) -> list[str]:
    rows = []
    for name, runs in found.items():
        own = averaged(runs.values())
        rows.append(_row(name, [f"{value:.2f}" for value in own] + [str(sorted({s for s, _ in runs}))]))
    return _markdown(title, ["known", "unknown", "D_abs", "D_rel", "HM", "sets"], rows)


def table(number: int, runs: list[Predictions]) -> list[str]:
    """Lines of a table in Markdown.

    Raises:
        StageError: nothing was measured for it.
    """
    coarse = joined(runs, "coarse", BACKGROUNDS[0])
    if number == 2:
        found = _known_unknown("Table 2: coarse classes", coarse)
    elif number == 3:
        fine = joined(runs, "fine", BACKGROUNDS[0])
        if not fine:
            raise StageError(
                "no model that reads texts was judged on fine classes; add zero_shot or prompt to transfer.models"
            )
        found = _known_unknown("Table 3: fine classes, of text models", fine)
    elif number == 4:
        plain = joined(runs, "coarse", BACKGROUNDS[1])
        if not plain:
            raise StageError("there are no plain backgrounds; name plain in data.index.rendered.backgrounds")
        rows = []
        for name, runs in coarse.items():
            a = averaged(runs.values()).hm
            b = averaged(plain[name].values()).hm if name in plain else None
            cells = ["realistic only", ""] if b is None else [f"{b:.2f}", f"{b - a:+.2f}"]
            rows.append(_row(name, [f"{a:.2f}", *cells]))
        found = _markdown("Table 4: HM by background", ["realistic", "plain", "gain"], rows)
    else:
        found = _disentangled(coarse)
    return found


def _disentangled(coarse: dict[str, Runs]) -> list[str]:
    own = {name: found for name, found in coarse.items() if name.startswith((PREFIX, BASE))}
    if not any(name.startswith(PREFIX) for name in own):
        raise StageError("no network was disentangled; add moving and disentangled to transfer.models")
    rows = []
    for name, found in own.items():
        sets = [[value.hm for (s, _), value in found.items() if s == wanted] for wanted in (1, 2)]
        cells = [f"{sum(hm) / len(hm):.2f}" if hm else "–" for hm in sets]
        base = own.get(f"{BASE}{TUNED}" if name.endswith(TUNED) else BASE)
        test = paired(base, found) if base and name.startswith(PREFIX) else None
        cells += [f"{test['gain']:+.2f}", str(test["pairs"]), f"{test['p']:.3f}"] if test else ["", "", ""]
        rows.append(_row(name, cells))
    return _markdown("Table 5: HM by set", ["set 1", "set 2", "gain", "pairs", "p (sign flips)"], rows)
