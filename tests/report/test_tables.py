"""Which rows are chosen, and in what order."""

import pandas as pd

from kit.report import tables


def test_splits_come_in_order_of_their_place(table):
    rows = tables.select(table, "accuracy")
    assert list(dict.fromkeys(rows["place"])) == ["in distribution", "near", "far"]


def test_groups_and_tuning_parts_are_left_out(table):
    row = table.iloc[0].to_dict()
    more = [row | {"group": "country=DE"}, row | {"split": "amazon/validation"}]
    again = pd.concat([table, pd.DataFrame(more)], ignore_index=True)
    assert len(tables.whole_splits(again)) == len(tables.whole_splits(table))


def test_pooled_rows_win_and_a_lone_seed_stands_for_itself(table):
    main = tables.pooled(tables.select(table, "accuracy"))
    assert set(main["seed"][main["variant"] == "base"]) == {"all"}
    assert set(main["seed"][main["variant"] == "majority"]) == {"0"}
    assert not main.duplicated(["variant", "split"]).any()


def test_conditions_are_told_apart_by_what_differs():
    texts = ["batch_size=1;threads=2", "batch_size=32;threads=2"]
    assert list(tables.differing(texts).values()) == ["batch_size=1", "batch_size=32"]


def test_null_models_are_known():
    assert tables.is_null_model("majority")
    assert tables.is_null_model("ngram")
    assert not tables.is_null_model("minilm")
    assert not tables.is_null_model("from another session")


def test_reasons_are_grouped(table):
    (sentence,) = tables.unmeasured(table)
    assert sentence.startswith("Not measured: accuracy of base bf16 on test, amazon, tweets, nyt")
    assert tables.unmeasured(table, ["speedup"]) == []
