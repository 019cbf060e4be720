from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.matrices import Matrix
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.exchange.evaluate import Outcome, check_stated, labelled
from pipeline.methods.dance.exchange.published import read_published, to_model, write_published
from pipeline.methods.dance.exchange.safe import read_safe, write_safe

CASES = [
    ("lf-cbm", ()),
    ("dance", ("pose", "spatial", "place")),
    ("dance", ("place", "pose", "spatial")),
    ("dance", ("spatial", "place")),
    ("dance", ("pose", "temporal")),
    ("dance", ("pose",)),
    ("dance", ("spatial",)),
]


@pytest.mark.parametrize(("layout", "train_mode"), CASES)
def test_a_folder_predicts_and_explains_as_bare_matrix_products_do(fabricate, layout, train_mode):
    made = fabricate(layout, train_mode)
    published = read_published(made.folder)
    model = to_model(published, "test")
    features = made.features.numpy()
    z = model.activations(features)
    np.testing.assert_allclose(z, made.activations.detach(), rtol=1e-4, atol=1e-5)
    probabilities = torch.softmax(made.logits, 1).detach()
    np.testing.assert_allclose(model.probabilities(z), probabilities, rtol=1e-4, atol=1e-6)
    predictions = model.predict(features, top_k=len(model.concepts))
    assert sum(item.label == label for item, label in zip(predictions, made.labels, strict=True)) == made.right
    assert published.stated_accuracy == pytest.approx(made.right / len(made.labels), abs=1e-6)
    for item, logits in zip(predictions, made.logits, strict=True):
        total = sum(part.contribution for part in item.contributions) + model.bias[item.label]
        assert total == pytest.approx(float(logits[item.label]), rel=1e-4, abs=1e-5)
        for part in item.contributions:
            named = (
                f"motion {int(made.names[part.index]):03d}"
                if part.type == "motion" and made.names[part.index].isdigit()
                else made.names[part.index]
            )
            assert part.concept == named


def test_types_and_names_of_dance(fabricate):
    model = to_model(read_published(fabricate("dance", ("place", "pose", "spatial")).folder), "test")
    assert model.types == ["motion"] * 6 + ["scene"] * 3 + ["object"] * 4
    assert model.concepts[:7] == [*(f"motion {row:03d}" for row in range(6)), "a place thing 0"]
    assert model.class_names == ["class 0", "class 1", "class 2", "class 3"]


def test_the_list_of_all_concepts_tells_the_order_without_the_arguments(fabricate):
    made = fabricate("dance", ("place", "pose", "spatial"))
    (made.folder / "args.txt").unlink()
    assert read_published(made.folder).types == ["motion"] * 6 + ["scene"] * 3 + ["object"] * 4
    (made.folder / "aggregated/concepts.txt").unlink()
    with pytest.raises(ForeignFileError, match="nothing tells the order of pose, spatial, place"):
        read_published(made.folder)


def test_the_arguments_tell_it_without_the_list(fabricate):
    made = fabricate("dance", ("place", "pose", "spatial"))
    (made.folder / "aggregated/concepts.txt").unlink()
    assert read_published(made.folder).types == ["motion"] * 6 + ["scene"] * 3 + ["object"] * 4


@pytest.mark.parametrize(
    "text", ["{0}\r\n{1}\r\n{2}\r\n", "\ufeff{0}\n{1}\n{2}\n\n", "{0}\r{1}\r{2}", " {0} \n{1}\t\n{2}"]
)
def test_line_ends_of_every_system(fabricate, text):
    made = fabricate("dance", ("place", "pose"))
    names = [f"a place thing {row}" for row in range(3)]
    (made.folder / "place/concepts.txt").write_bytes(text.format(*names).encode())
    assert read_published(made.folder).concepts[6:] == names


# ------------------------------------------------------------------------------------------------------------ bad input


def save(name, value):
    return lambda folder: torch.save(value, folder / name)


class Hostile:
    def __reduce__(self):
        return (exec, ("open('executed', 'w')",))


def std_of_zero(folder):
    std = torch.load(folder / "proj_std.pt", weights_only=True)
    std[0, 2] = 0
    torch.save(std, folder / "proj_std.pt")


def sign_of_nan(folder):
    weight = torch.load(folder / "W_c.pt", weights_only=True).detach()
    weight[1, 1] = float("nan")
    torch.save(weight, folder / "W_c.pt")


FLAT = [
    (lambda folder: (folder / "W_c.pt").unlink(), "has no W_c.pt: a classifier on bare features"),
    (lambda folder: (folder / "W_g.pt").unlink(), r"no W_g.pt: one concept type of a DANCE result\? Name the folder"),
    (lambda folder: (folder / "b_g.pt").unlink(), "has no b_g.pt"),
    (lambda folder: (folder / "proj_std.pt").unlink(), "has no proj_std.pt"),
    (lambda folder: (folder / "concepts.txt").unlink(), "has no concepts.txt"),
    (save("W_g.pt", torch.zeros(7, 4)), r"W_g.pt is \[7, 4\]; it must be classes × 7 concepts"),
    (save("b_g.pt", torch.zeros(5)), r"b_g.pt is \[5\], W_g.pt has 4 classes"),
    (save("proj_mean.pt", torch.zeros(1, 8)), r"proj_mean.pt is \[1, 8\], W_c.pt has 7 concepts"),
    (save("W_c.pt", torch.zeros(7)), "must be concepts × features"),
    (save("W_c.pt", torch.zeros(7, 12, dtype=torch.int64)), "must hold one tensor of floats"),
    (save("W_c.pt", {"weight": torch.zeros(7, 12)}), "must hold one tensor of floats"),
    (save("W_c.pt", Hostile()), "ever unpickled"),
    (lambda folder: (folder / "W_c.pt").write_bytes(b"PK\x03\x04"), "ever unpickled"),
    (std_of_zero, "proj_std.pt is 0 for the concept `a spatial thing 2`"),
    (sign_of_nan, "W_c.pt holds NaN or infinity"),
    (lambda folder: (folder / "concepts.txt").write_text("one\ntwo"), "names 2 concepts, W_c.pt has 7 rows"),
    (lambda folder: (folder / "concepts.txt").write_text("one\n\ntwo"), "concepts.txt, line 2 is empty"),
    (lambda folder: (folder / "concepts.txt").write_bytes(b"\xff\xfe"), "is not UTF-8 text"),
    (lambda folder: (folder / "metrics.txt").write_text("{"), "metrics.txt is not JSON"),
    (lambda folder: (folder / "metrics.txt").write_text("[]"), "metrics.txt must hold a JSON object"),
    (lambda folder: shutil.rmtree(folder), "is no folder"),
    (lambda folder: [path.unlink() for path in folder.iterdir()], "is no result folder"),
]


@pytest.mark.parametrize(("damage", "words"), FLAT)
def test_bad_folders_are_told_in_one_line(fabricate, damage, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = fabricate("lf-cbm")
    damage(made.folder)
    with pytest.raises(ForeignFileError, match=words) as caught:
        read_published(made.folder)
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "place"), "is not the concepts of pose, spatial one after another"),
        (lambda folder: (folder / "place/W_c.pt").unlink(), "has no place/W_c.pt"),
        (lambda folder: (folder / "aggregated/W_g.pt").unlink(), "has no aggregated/W_g.pt"),
        (save("spatial/W_c.pt", torch.zeros(4, 9)), "different widths: pose 12, spatial 9, place 12"),
        (save("aggregated/W_g.pt", torch.zeros(4, 10)), "must be classes × 13 concepts"),
        (lambda folder: (folder / "args.txt").write_text("no"), "args.txt is not JSON"),
        (
            lambda folder: [shutil.rmtree(folder / name) for name in ("pose", "spatial", "place")],
            "no folder of a concept type",
        ),
    ],
)
def test_bad_folders_of_dance_are_told(fabricate, damage, words):
    made = fabricate("dance")
    damage(made.folder)
    with pytest.raises(ForeignFileError, match=words):
        read_published(made.folder)


def test_a_class_list_of_another_length(fabricate):
    with pytest.raises(ForeignFileError, match=r"the class list has 2 names, W_g\.pt 4 classes"):
        to_model(read_published(fabricate("lf-cbm").folder), "test", ["a", "b"])


def test_only_the_stated_accuracy_passes():
    check_stated(Outcome(1046, 1067), 0.9803186655044556)
    with pytest.raises(ForeignFileError, match=r"states an accuracy of 0\.980319.*0\.979381 \(1045 of 1067\)"):
        check_stated(Outcome(1045, 1067), 0.9803186655044556)
    with pytest.raises(ForeignFileError, match="not the one it was evaluated on"):
        check_stated(Outcome(1000, 1000), 0.9803186655044556)


def test_accuracy_is_of_lists_with_one_label_per_video(tmp_path):
    matrix = Matrix(np.array([[1.0], [2.0]], np.float32), ["b", "a"])
    (tmp_path / "list.csv").write_text("a.mp4,[run]\nb.mp4,sit\n")
    ids, features, labels = labelled(matrix, tmp_path / "list.csv", ["run", "sit"])
    assert (ids, features.tolist(), labels.tolist()) == (["a", "b"], [[2], [1]], [0, 1])
    (tmp_path / "list.csv").write_text("a.mp4,run\nb.mp4,[sit;run]\n")
    with pytest.raises(ForeignFileError, match=r"list\.csv: b\.mp4 has 2 labels; write one per line"):
        labelled(matrix, tmp_path / "list.csv", ["run", "sit"])


# ------------------------------------------------------------------------------------------------------------- writing


def tensors_and_text(path) -> tuple[dict, dict]:
    content = torch.load(path, weights_only=True)
    return content["tensors"], json.loads(content["metadata"])


def same(first, second) -> bool:
    (left, about), (right, other) = tensors_and_text(first), tensors_and_text(second)
    return left.keys() == right.keys() and about == other and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture
def own() -> ConceptModel:
    """A model of the project, its types in no order, with medoids."""
    rng = np.random.default_rng(0)
    types = ["motion", "object", "scene", "object", "motion"]
    return ConceptModel(
        ["left", "right ✓", "down"],
        ["motion 000", "ball", "gym, old", "Å", "motion 017"],
        types,
        {"weight": rng.normal(size=(5, 6)), "mean": rng.normal(size=5), "std": rng.random(5) + 0.1},
        rng.normal(size=(3, 5)),
        rng.normal(size=3),
        rng.random((2, 4, 17, 2)).astype(np.float32),
        {
            "dataset": "test",
            "kind": "dance",
            "quality": [0.1, 0.2, 0.3, 0.4, 0.5],
            "skeleton": "coco",
            "n_videos": [3, 4],
            "metrics": {"top1": 0.5, "val_top1": 0.25, "lambda": 0.01},
            "features": {"source": "computed", "model": "some/backbone"},
            "edits": [],
        },
    )


@pytest.mark.parametrize("layout", ["lf-cbm", "dance"])
def test_a_model_survives_its_way_through_a_layout_bit_by_bit(own, tmp_path, layout):
    own.save(tmp_path / "own.pt")
    (tmp_path / "out").mkdir()
    write_published(tmp_path / "out", read_model(tmp_path / "own.pt"), layout)
    again = to_model(read_published(tmp_path / "out"), "ignored")
    again.save(tmp_path / "again.pt")
    if layout == "lf-cbm":
        assert same(tmp_path / "own.pt", tmp_path / "again.pt")
        return
    # Concepts of a type have become neighbours; put back, everything is as it was.
    order = [0, 4, 1, 3, 2]
    assert again.concepts == [own.concepts[row] for row in order]
    assert again.about["quality"] == [0.1, 0.5, 0.2, 0.4, 0.3]
    back = np.argsort(order)
    replace(
        again,
        concepts=own.concepts,
        types=own.types,
        layer={name: value[back] for name, value in again.layer.items()},
        weight=again.weight[:, back],
        about=own.about,
    ).save(tmp_path / "back.pt")
    assert same(tmp_path / "own.pt", tmp_path / "back.pt")


@pytest.mark.parametrize(("layout", "train_mode"), [CASES[0], CASES[1], CASES[5]])
def test_a_published_folder_is_written_again_as_it_was(fabricate, tmp_path, layout, train_mode):
    made = fabricate(layout, train_mode)
    (tmp_path / "out").mkdir()
    write_published(tmp_path / "out", to_model(read_published(made.folder), "test"), layout)
    names = sorted(str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file())
    written = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert written == sorted([*names, "conceptreel.json"])
    for name in names:
        old, new = made.folder / name, tmp_path / "out" / name
        if name.endswith(".pt"):
            assert torch.equal(torch.load(old, weights_only=True), torch.load(new, weights_only=True)), name
        elif name.endswith("concepts.txt"):
            assert old.read_bytes() == new.read_bytes()
        elif name.endswith("metrics.txt"):
            assert json.loads(old.read_text()) == json.loads(new.read_text())


def test_torch_alone_computes_the_same_from_what_was_written(own, tmp_path):
    """The oracle is the formula of the published code on the files, as their readers would apply it."""
    write_published(tmp_path, own, "lf-cbm")
    read = {
        name: torch.load(tmp_path / f"{name}.pt", weights_only=True)
        for name in ("W_c", "proj_mean", "proj_std", "W_g", "b_g")
    }
    assert read["proj_mean"].shape == read["proj_std"].shape == (1, 5)
    x = torch.randn(7, 6)
    logits = ((x @ read["W_c"].T - read["proj_mean"]) / read["proj_std"]) @ read["W_g"].T + read["b_g"]
    z = own.activations(x.numpy())
    np.testing.assert_allclose(torch.softmax(logits, 1), own.probabilities(z), rtol=1e-4, atol=1e-6)
    metrics = json.loads((tmp_path / "metrics.txt").read_text())
    assert metrics["metrics"] == {"acc_tr": -1, "acc_val": 0.25, "acc_test": 0.5}
    assert metrics["sparsity"]["Non-zero weights"] == 15
    assert json.loads((tmp_path / "args.txt").read_text())["backbone"] == "some/backbone"


@pytest.fixture
def located(own) -> ConceptModel:
    layer = {
        "weight": own.layer["weight"][:3],
        "mean": own.layer["mean"],
        "std": own.layer["std"],
        "map_weight": np.random.default_rng(1).normal(size=(2, 9)),
    }
    return replace(own, layer=layer, about={**own.about, "maps": {"pooling": "max", "grid": [7, 7]}})


def test_safetensors_keep_every_bit_with_and_without_maps(own, located, tmp_path):
    for number, model in enumerate((own, located)):
        folder = tmp_path / str(number)
        folder.mkdir()
        model.save(folder / "model.pt")
        write_safe(folder, read_model(folder / "model.pt"))
        read_safe(folder).save(folder / "again.pt")
        assert same(folder / "model.pt", folder / "again.pt")


def test_layouts_without_a_place_for_it_refuse(own, located, tmp_path):
    with pytest.raises(ForeignFileError, match="has no place for maps; export it as safetensors"):
        write_published(tmp_path, located, "dance")
    with pytest.raises(ForeignFileError, match=r"'a\\nb' cannot stand in a line"):
        write_published(tmp_path, replace(own, concepts=["a\nb", *own.concepts[1:]]), "lf-cbm")
    assert list(tmp_path.iterdir()) == []


def test_bad_safetensors_are_told(own, tmp_path):
    def broken(damage) -> str:
        folder = tmp_path / "x"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_safe(folder, own)
        damage(folder)
        with pytest.raises(ForeignFileError) as caught:
            read_safe(folder)
        return str(caught.value)

    def text(**changes):
        def damage(folder):
            content = json.loads((folder / "model.json").read_text()) | changes
            (folder / "model.json").write_text(json.dumps({key: value for key, value in content.items() if value}))

        return damage

    assert "has no model.json" in broken(lambda folder: (folder / "model.json").unlink())
    assert "not a safetensors file" in broken(lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 40))
    assert "of a newer release" in broken(text(version=99))
    assert "is incomplete" in broken(text(concepts=None))
    assert "is incomplete" in broken(lambda folder: (folder / "model.json").write_text("{"))


# ---------------------------------------------------------------------------------------------------------- real folder


def test_the_published_result_of_penn_action(real_data):
    """Where the result folder of DANCE's repository lies beside the published features: its accuracy, to the video."""
    found = sorted((real_data / "penn_action").glob("**/aggregated/metrics.txt"))
    if not found:
        pytest.skip("no published result folder below penn_action; docs/exchange.md tells where it is from")
    from pipeline.exchange.matrices import read_matrix
    from pipeline.methods.dance.exchange.evaluate import evaluate

    published = read_published(found[0].parent.parent)
    names = (real_data / "penn_action/class_list.txt").read_text().split()
    model = to_model(published, "penn_action", names)
    matrix = read_matrix(real_data / "penn_action/features/penn-action_val_vmae_vit_base_patch16_224.pt")
    _, features, labels = labelled(matrix, real_data / "penn_action/val.csv", names)
    outcome = evaluate(model, features, labels)
    check_stated(outcome, published.stated_accuracy)
    assert (outcome.right, outcome.total, published.nonzero) == (1046, 1067, 247)
