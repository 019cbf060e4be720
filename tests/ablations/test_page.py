"""Tables as Markdown, with means and spreads worked out by hand."""

from __future__ import annotations

import pytest

from pipeline.ablations.page import markdown, page, published, spread
from pipeline.ablations.run import read_rows, write_rows
from pipeline.ablations.variants import Table, Variant
from pipeline.store.atomic import ArtifactError
from pipeline.store.tables import write_table


def test_spread_is_mean_and_standard_deviation():
    assert spread([0.9, 0.92, 0.94], 100) == "92.0 ± 2.0"
    assert spread([0.9], 100) == "90.0"
    assert spread([3, 5], digits=0) == "4 ± 1"
    assert spread([]) == "–"


@pytest.fixture
def written(tmp_path):
    table = Table(
        "clustering",
        "Clustering",
        "Table 2",
        [Variant("FINCH", paper={"ucf101": 87.5}), Variant("k-means", {"a.b": 1}), Variant("third", {"a.b": 2})],
    )
    figures = {"top1": 0.5, "val_top1": 1.0, "shifted_top1": 0.25, "n_concepts": 7.0, "nnz": 9.0}
    rows = [
        {"variant": "FINCH", "seed": 0, "problem": "", "seconds": 1.0, "figures": figures},
        {"variant": "FINCH", "seed": 1, "problem": "", "seconds": 1.0, "figures": {**figures, "top1": 0.6}},
        {"variant": "k-means", "seed": 0, "problem": "", "seconds": 1.0, "figures": figures},
        {"variant": "third", "seed": 0, "problem": "there is no third", "seconds": 1.0, "figures": {}},
    ]
    write_rows(tmp_path / "clustering.parquet", "demo", table, rows, 2, 3.0)
    return tmp_path / "clustering.parquet"


def test_a_table_says_what_was_measured_and_what_was_published(written):
    text = markdown("demo", *read_rows(written))
    assert "conceptreel ablate results/demo --table clustering --seeds 2" in text
    assert "| variant | test | `shifted` | validation | concepts | non-zero weights | paper (UCF-101) |" in text
    assert "| FINCH | 55.0 ± 7.1 | 25.0 ± 0.0 | 100.0 ± 0.0 | 7 ± 0 | 9 ± 0 | 87.5 |" in text
    assert "| k-means | 50.0 | 25.0 | 100.0 | 7 | 9 | – |" in text
    assert "| third | – | – | – | – | – | – |" in text and "third: there is no third" in text


def test_the_paper_column_is_of_the_data_set_where_it_has_one():
    variants = [{"paper": {"ucf101": 87.9, "penn_action": 98.1}}, {"paper": {}}]
    assert published(variants, "penn_action_published_labels") == "penn_action"
    assert published(variants, "demo") == "ucf101"
    assert published([{"paper": {}}], "penn_action") == ""


def test_the_page_holds_all_tables(written):
    text = page({"demo": [markdown("demo", *read_rows(written))] * 2, "weizmann": ["### X\n"]})
    assert text.count("### Clustering") == 2 and text.index("## `demo`") < text.index("## `weizmann`")


def test_other_tables_are_refused(tmp_path, written):
    table, _ = read_rows(written)
    import pyarrow as pa

    write_table(tmp_path / "other.parquet", pa.table({"a": [len(table)]}), {"schema": "index"}, {})
    with pytest.raises(ArtifactError, match="no table of `conceptreel ablate`"):
        read_rows(tmp_path / "other.parquet")
