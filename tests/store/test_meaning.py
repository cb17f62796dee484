"""What a row's words mean: direction, statistic, place, what is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import kit
from kit.spec import registry
from kit.store import results
from kit.store.meaning import STATISTICS, higher_is_better, join_name, place, split_name

pytestmark = pytest.mark.usefixtures("registries")


def made(**fields: Any) -> dict[str, Any]:
    given = {"variant": "v", "seed": 0, "metric": "accuracy", "value": 0.5}
    return results.row(**given | fields)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_name_is_joined_and_split(statistic: str) -> None:
    name = join_name("accuracy", statistic)
    assert split_name(name) == ("" if name == statistic else "accuracy", statistic)


def test_what_is_registered_under_the_whole_name_is_a_metric_of_its_own() -> None:
    @kit.register_metric(artifact="classification", higher_is_better=False, unit="euro")
    def price_change(label: Any) -> Any: ...

    assert split_name("price_change") == ("price_change", "")
    assert split_name("price_change_change") == ("price_change", "change")
    assert split_name("accuracy") == ("accuracy", "") and split_name("gone") == ("gone", "")


def test_each_statistic_has_a_direction() -> None:
    better = {
        "accuracy_change": True,
        "nll_change": False,
        "worst_group_accuracy": True,
        "accuracy_group_gap": False,
        "nll_excess_loss": False,
        "flips_lost": False,
        "flips_gained": True,
        "noise_flips": False,
        "gone_change": None,
        "gone": None,
    }
    assert {name: higher_is_better(name) for name in better} == better


def test_a_place_is_said_where_the_task_is_known() -> None:
    kit.register_task(kind="classification", shifts={"late": "near"}, version=1)(toys := _toys)
    name = toys.__name__
    splits = ("test", "late", "late/validation", "validation")
    assert [place(name, split) for split in splits] == [
        *("in distribution", "near", "near", "in distribution")
    ]
    assert place("gone", "late") == "" and place("gone", "test") == "in distribution"


def _toys() -> None: ...


def test_load_expands_and_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("tasks", "schemes"):
        monkeypatch.setattr(registry.REGISTRIES[kind], "_loaded", True)
        monkeypatch.setattr(registry.REGISTRIES[kind], "_entries", {})
        monkeypatch.setattr(registry.REGISTRIES[kind], "_aliases", {})

    def toys() -> None: ...
    def halve(model: Any, *, bits: int = 8) -> None: ...

    kit.register_task(kind="classification", shifts={"amazon": "near"}, version=1)(toys)
    kit.register_scheme(form="module", simulated=True, aliases={"h8": {}}, version=1)(halve)
    known = {"task": "toys", "schemes": "h8", "split": "amazon"}
    rows = [
        made(**known, condition="batch_size=32;length=128;shift=3"),
        made(**known | {"split": "test", "schemes": "fp32"}, metric="nll_change"),
        made(task="gone", schemes="gone", metric="gone"),
    ]
    results.write_table(results.to_frame(rows), tmp_path / "02_toys.csv")
    (tmp_path / "02_toys.machines.csv").write_text("machine\n1\n", encoding="utf-8")
    table = kit.load("02", tmp_path).set_index("metric")
    assert table.loc["accuracy", ["batch_size", "length"]].tolist() == [32, 128]
    assert table.loc["accuracy", ["higher_is_better", "shift", "simulated"]].tolist() == [
        *(True, "near", True)
    ]
    assert table.loc["accuracy", "condition_shift"] == 3, "kept apart from the joined column"
    assert table.loc["nll_change", ["higher_is_better", "shift", "simulated"]].tolist() == [
        *(False, "", False)
    ]
    assert pd.isna(table.loc["gone", ["higher_is_better", "shift", "simulated"]]).all()
    with pytest.raises(FileNotFoundError, match="02_toys"):
        kit.load("03_toys", tmp_path)
