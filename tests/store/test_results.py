"""Tables come back as written; a broken one is named by column, row and rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.store import results

plain = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)


def made(**fields: Any) -> dict[str, Any]:
    start = {"study": "s", "variant": "v", "seed": "0", "metric": "accuracy", "value": 0.5}
    return results.row(**(start | fields))


def test_round_trip(tmp_path: Path) -> None:
    rows = [
        made(variant="b", value=1 / 3, n=7, ci_low=0.1, ci_high=0.6, interval="items"),
        made(variant="a", value=123456789.0, machine=1),
        made(variant="=cmd|' /C calc'!A0", note="+1"),
        made(variant="'=x", status="undefined", value=None, note='no, "items"; 1\'000'),
    ]
    path = tmp_path / "results" / "t.csv"
    results.write_table(results.to_frame(rows), path)
    text = path.read_text(encoding="utf-8")
    assert "0.333333," in text and "1.23457e+08" in text and "\n=cmd" not in text
    assert ",'=cmd" in text and ",''=x" in text and ",'+1," in text
    table = results.read_table(path)
    assert list(table.variant) == ["'=x", "=cmd|' /C calc'!A0", "a", "b"]
    assert math.isnan(table.value[0]) and table.n[3] == 7 and table.n.dtype == "Int64"
    results.write_table(table.sample(frac=1, random_state=1), path)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["t.csv"]


@settings(deadline=None, max_examples=8)
@given(st.lists(plain, min_size=1, max_size=4, unique=True))
def test_any_text_comes_back(tmp_path_factory: Any, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    rows = [made(variant=name or "x", group=str(i), note=name) for i, name in enumerate(names)]
    results.write_table(results.to_frame(rows), path)
    assert sorted(results.read_table(path).note) == sorted(names)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"status": "okay"},
            r"column 'status', row 2: .* one of ok, undefined, error; found 'okay'",
        ),
        ({"value": None}, r"column 'value', row 2: .* finite number where status is ok"),
        ({"status": "error", "value": None}, r"column 'note', row 2: .* gives the reason"),
        ({"ci_low": 0.7, "ci_high": 0.6, "interval": "items"}, r"column 'ci_low', row 2: .* above"),
        ({"ci_low": 0.1, "ci_high": 0.6}, r"column 'interval', row 2: .* names what"),
        ({"p_value": 1.5}, r"column 'p_value', row 2: .* in 0..1; found '1.5'"),
        ({"condition": "b=1;a=2"}, r"column 'condition', row 2: .* sorted by key"),
        ({"seed": "one"}, r"column 'seed', row 2: .* 'all'; found 'one'"),
        (
            {"interval": "dice", "ci_low": 0.1, "ci_high": 0.6},
            r"column 'interval', row 2: .* empty",
        ),
        ({"variant": "first"}, r"column 'study/variant/.*', row 2: .* is unique; found 's first"),
    ],
)
def test_broken_rows_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        results.to_frame([made(variant="first"), made(**fields)])


def test_tables_edited_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    results.write_table(results.to_frame([made(), made(variant="w", n=3)]), path)
    text = path.read_text(encoding="utf-8")
    for old, new, message in [
        (",0.5,", ",half,", "t.csv: column 'value', row 1: .* a number; found 'half'"),
        (",3,", ",3.5,", "column 'n', row 2: .* a whole number; found '3.5'"),
        ("variant,", "varient,", "column 'variant' is missing"),
        ("note,", "note,more,", "column 'more' is no column|Error tokenizing|is missing"),
    ]:
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            results.read_table(path)
    path.write_text(text.replace(",v,", ",=v,"), encoding="utf-8")
    assert results.read_table(path).variant[0] == "=v", "a sign that was not escaped stays"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"t\.csv"):
        results.read_table(path)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'variant'"):
        results.row(varient="x")


def test_conditions_are_canonical() -> None:
    text = results.condition(length=128, batch_size=32, rate=0.1, kind="x", none=None)
    assert text == "batch_size=32;kind=x;length=128;rate=0.1"
    parts = {"batch_size": 32, "kind": "x", "length": 128, "rate": 0.1}
    assert results.parse_condition(text) == parts
    assert results.parse_condition("") == {} and results.condition() == ""
    with pytest.raises(ValueError, match="values hold no"):
        results.condition(a="1;b=2")
