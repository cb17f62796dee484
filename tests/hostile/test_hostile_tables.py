"""Tables that somebody else wrote: read as they were meant, or refused with row and rule."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attacks import attempt, cases, names
from hypothesis import given
from hypothesis import strategies as st

from kit.spec.checking import tidy
from kit.store import results
from kit.store.results import COLUMNS, COUNTS, NUMBERS

TEXTS = [name for name in COLUMNS if name not in (*NUMBERS, *COUNTS)]
FREE = ["study", "variant", "architecture", "schemes", "runtime", "task", "group", "note", "unit"]


def one(**fields: Any) -> pd.DataFrame:
    known = {"study": "s", "variant": "v", "seed": 0, "metric": "m", "value": 1.0}
    return results.to_frame([results.row(**{**known, **fields})])


@pytest.fixture(scope="module")
def path(world: Path) -> Path:
    return world / "a/b/project/results/table.csv"


formulas = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from(["=", "+", "-", "@", "'", "''=", "\uff1d", "\uff20", '"', ",", "'\uff0b"]),
    names,
)


@cases(20, 300)
@given(st.dictionaries(st.sampled_from(FREE), names | formulas, min_size=1, max_size=4))
def test_text_comes_back_and_no_cell_is_a_formula(fields: dict[str, str]) -> None:
    fields = {**fields, "variant": "v" + fields.get("variant", "")}
    path = Path("results/written.csv")

    def round_trip() -> pd.DataFrame:
        frame = one(**fields)
        results.write_table(frame, path)
        return results.read_table(path)

    back = attempt(round_trip)
    assert {name: back[name].iloc[0] for name in fields} == {k: tidy(v) for k, v in fields.items()}
    for cell in next(csv.reader(path.read_text(encoding="utf-8").splitlines()[1:])):
        number = cell[1:].replace(".", "").replace("e", "").isdigit()
        assert number or not cell.startswith(
            ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff20")
        )


def lines(path: Path) -> list[str]:
    results.write_table(one(), path)
    return path.read_text(encoding="utf-8").splitlines()


BYTES = {
    "empty": lambda head, row: b"",
    "one line end": lambda head, row: b"\n",
    "no row": lambda head, row: head.encode() + b"\n",
    "byte order mark": lambda head, row: f"{head}\n{row}\n".encode("utf-8-sig"),
    "UTF-16": lambda head, row: f"{head}\n{row}\n".encode("utf-16"),
    "UTF-32": lambda head, row: f"{head}\n{row}\n".encode("utf-32"),
    "Latin-1": lambda head, row: f"{head}\n{row.replace('s,v', 's,é')}\n".encode("latin-1"),
    "zero byte": lambda head, row: f"{head}\n{row.replace('s,v', 's,v' + chr(0) + 'w')}\n".encode(),
    "doubled row": lambda head, row: f"{head}\n{row}\n{row}\n".encode(),
    "doubled column": lambda head, row: f"{head},study\n{row},x\n".encode(),
    "more cells": lambda head, row: f"{head}\n{row},x\n".encode(),
    "more cells once": lambda head, row: f"{head}\n{row}\n{row},x,y\n".encode(),
    "fewer cells": lambda head, row: f"{head}\n{row[:8]}\n".encode(),
    "open quote": lambda head, row: f'{head}\n"{row}\n'.encode(),
    "large cell": lambda head, row: f"{head}\n{row.replace('s,v', 's,' + 'v' * 10**7)}\n".encode(),
    "semicolons": lambda head, row: f"{head}\n{row}\n".replace(",", ";").encode(),
    "carriage returns": lambda head, row: f"{head}\r{row}\r".encode(),
    "noise": lambda head, row: os.urandom(3_000),
    "column gone": lambda head, row: f"{head[6:]}\n{row[2:]}\n".encode(),
}
READABLE = {"no row", "byte order mark", "large cell", "carriage returns"}


@pytest.mark.parametrize("kind", BYTES)
def test_files_of_any_bytes(kind: str, path: Path) -> None:
    head, row = lines(path)
    path.write_bytes(BYTES[kind](head, row))
    frame = attempt(lambda: results.read_table(path))
    assert (frame is not None) == (kind in READABLE)


CELLS = [
    *("abc", "1e400", "1e300", "-1", "nan", "inf", "0x10", "True", "1.5", "١", "1_0", "9" * 5_000),
    *("a=1;", "=", "a=1=2", "\ufeff", "all", "ok", "error", "b=1;a=2", "a=1\nb=2", "a=\ud800", "0"),
]


@cases(20, 400)
@given(st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(CELLS) | names, min_size=1))
def test_cells_edited_by_hand(cells: dict[str, str]) -> None:
    path = Path("results/edited.csv")
    head, row = lines(path)
    old = dict(zip(head.split(","), row.split(","), strict=True))
    text = io.StringIO()
    csv.writer(text).writerows([list(old), [cells.get(name, old[name]) for name in old]])
    path.write_bytes(text.getvalue().encode("utf-8", errors="surrogatepass"))
    frame = attempt(lambda: results.read_table(path))
    if frame is not None:
        results.write_table(frame, path)
        again = results.read_table(path)
        assert again[TEXTS].equals(frame[TEXTS]), "what was read is written as it was"
