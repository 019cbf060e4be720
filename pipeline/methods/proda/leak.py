"""What the published protocol gives away on Charades, measured without a pixel.

A scene graph of Action Genome holds the objects of the true actions, so here a video's graph is just that: which of the
35 objects its labels name. Prompts are those of the authors' code, drawn from the labels of the test videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.data.lines import text_of
from pipeline.data.sets.charades import annotations, read_classes
from pipeline.data.sets.listing import find_file
from pipeline.methods.proda.baselines import regression
from pipeline.methods.proda.evaluate import MOST_LABELS, prompt_rows
from pipeline.methods.proda.protocols import by_label_count, charades_map, table_6_7

ASKED = 16


class Videos(NamedTuple):
    """Labels bool ``[n, C]`` and objects bool ``[n, 35]`` of the videos of one list."""

    truth: np.ndarray
    objects: np.ndarray


def plain(name: str) -> str:
    """Lists spell names with and without ``/`` and ``_``."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def read(root: Path) -> dict[str, Videos]:
    """Split → its videos.

    Raises:
        ListError: a list is missing or damaged.
    """
    codes = list(read_classes(root))
    lines = text_of(find_file(root, "Charades_v1_mapping.txt").read_bytes()).split("\n")
    object_of = dict(line.split()[:2] for line in lines if line.strip())
    lines = text_of(find_file(root, "Charades_v1_objectclasses.txt").read_bytes()).splitlines()
    words = {line.split(" ", 1)[0]: plain(line.split(" ", 1)[1]) for line in lines if " " in line}
    lines = text_of(find_file(root, "object_classes.txt").read_bytes()).splitlines()
    known = [plain(line) for line in lines if line.strip() and plain(line) != "person"]
    belongs = np.zeros((len(codes), len(known)), bool)
    for number, code in enumerate(codes):
        name = words.get(object_of.get(code, ""), "")
        if name in known:
            belongs[number, known.index(name)] = True
    rows, _ = annotations(root)
    found = {}
    for split in dict.fromkeys(row.split for row in rows):
        own = [row for row in rows if row.split == split]
        truth = np.zeros((len(own), len(codes)), bool)
        for number, row in enumerate(own):
            truth[number, [codes.index(code) for code, _, _ in row.segments]] = True
        found[split] = Videos(truth, truth.astype(int) @ belongs.astype(int) > 0)
    return found


def with_prompt(presence: np.ndarray, prompts: np.ndarray, counted: bool) -> np.ndarray:
    """Columns of a learner that sees prompts ``[k, C, 2]``: log-odds by presence, and whether the action is asked.

    With ``counted`` a third: asked by a prompt of fewer than K, which holds true ones alone: counting tells.
    """
    odds = np.log(np.clip(presence, 1e-6, 1 - 1e-6) / np.clip(1 - presence, 1e-6, 1))
    short = prompts & (prompts.sum(1, keepdims=True) < ASKED)
    return np.stack([odds, prompts, short] if counted else [odds, prompts], 2)


def shared_regression(columns: np.ndarray, truth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """One logistic regression for all classes over columns ``[k, C, p]``: log-odds ``[m, C]``."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=200).fit(columns.reshape(-1, columns.shape[2]), truth.reshape(-1))
    return model.decision_function(wanted.reshape(-1, columns.shape[2])).reshape(wanted.shape[:2])


def measure(root: Path, seed: int = 0) -> dict[str, float]:
    """The figures of the table; see the method's README."""
    videos = read(root)
    train, test = videos["train"], videos["test"]
    of_train, of_test = regression(
        train.objects.astype(float), train.truth, [train.objects.astype(float), test.objects.astype(float)]
    )
    found = {
        "videos": len(test.truth),
        "without_label": int((~test.truth.any(1)).sum()),
        "more_labels": int((test.truth.sum(1) > MOST_LABELS).sum()),
        "chance": charades_map(np.random.default_rng(seed).random(test.truth.shape), test.truth)[0],
        "presence": charades_map(of_test, test.truth)[0],
    }
    draw = np.random.default_rng(seed)
    learned = np.sort(draw.choice(len(train.truth), min(1500, len(train.truth)), replace=False))
    rows, prompts = prompt_rows(train.truth[learned], ASKED, seed)
    test_rows, test_prompts = prompt_rows(test.truth, ASKED, seed)
    for name, counted in (("presence_and_prompt", False), ("presence_and_counted_prompt", True)):
        columns = with_prompt(of_train[learned][rows], prompts, counted)
        wanted = with_prompt(of_test[test_rows], test_prompts, counted)
        scores = shared_regression(columns, train.truth[learned][rows], wanted)
        found[name] = charades_map(scores, test.truth[test_rows])[0]
    for number, absent in ((6, False), (7, True)):
        cells = by_label_count(test.truth, ASKED, absent, np.random.default_rng(seed), MOST_LABELS)
        products = [each * (of_test[own] + 1e-9) for _, _, own, each in cells]
        values = table_6_7(cells, products, test.truth)
        found[f"table_{number}"] = float(np.mean([mean for mean, _ in values.values()]))
        pooled = np.concatenate([test.truth[own] & each for _, _, own, each in cells])
        found[f"table_{number}_rows"] = charades_map(np.concatenate(products), pooled)[0]
    return found


def lines(found: dict[str, float]) -> list[str]:
    """The table for people; published figures beside it."""
    return [
        f"{found['videos']} test videos, {found['without_label']} without a label, {found['more_labels']} of more than "
        f"{MOST_LABELS}",
        f"chance                             {found['chance']:.3f}",
        f"which objects are there            {found['presence']:.3f}",
        f"  and the prompts of the protocol  {found['presence_and_prompt']:.3f}   (published a_t .711)",
        f"  and how many a prompt names      {found['presence_and_counted_prompt']:.3f}",
        f"a_s, prompt × presence, Table 6    {found['table_6']:.3f}   (published .99 to 1)",
        f"a_s, prompt × presence, Table 7    {found['table_7']:.3f}   (published .85 to 1)",
        f"  all rows in one list             {found['table_7_rows']:.3f}",
    ]
