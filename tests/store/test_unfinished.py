"""What a run had before it was interrupted is found again, and little of it is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kit
from kit.measurements import Generate, ScoreChoices
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store, unfinished
from kit.store.unfinished import Unfinished

SMALL = {"width": 32, "depth": 2}


def test_what_is_kept_is_found_under_its_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    columns = {"value": np.arange(3), "text": np.array(["a", "b", "c"])}
    Unfinished("run1").keep("part-1", lambda: columns)
    found = Unfinished("run1").find("part-1")
    assert found is not None and found.keys() == columns.keys()
    assert all((found[name] == columns[name]).all() for name in columns)
    assert Unfinished("run1").find("part-2") is None and Unfinished("run2").find("part-1") is None
    Unfinished().keep("part-1", lambda: pytest.fail("there is no run to keep it for"))


def test_it_is_not_kept_again_before_its_time() -> None:
    Unfinished("early").keep("part-1", lambda: pytest.fail("too early"))
    assert Unfinished("early").find("part-1") is None


def quiz() -> Ref:
    rows = [{"question": f"What is {k} + 1?", "choices": [str(k + 1), str(k), "none"],
             "answer": str(k + 1)}
            for k in range(40)]  # fmt: skip
    return ScoreChoices(kit.choices_from_frame("sums", pd.DataFrame(rows)), limit=12, tokens=64)


def written() -> Ref:
    rows = [{"prompt": f"Count to {k}", "answer": str(k)} for k in range(40)]
    return Generate(kit.generation_from_frame("asked", pd.DataFrame(rows)), limit=12, rows=2)


@pytest.mark.parametrize("name", ["llama", "lstm"])
@pytest.mark.parametrize("ask", [quiz, written])
def test_an_interrupted_task_goes_on_where_it_was(
    ask: Callable[[], Ref], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    base = Variant(Ref(name, **SMALL))
    run = Run(base, ask())
    keep, kept, cut = Unfinished.keep, [0], [-1]

    def told(self: Unfinished, part: str, columns: Any) -> None:
        if self._run_id is None:  # ways are tried before anything is kept
            return
        self._wait = 0.0
        keep(self, part, columns)
        kept[0] += 1
        if kept[0] == cut[0]:
            raise KeyboardInterrupt

    def done() -> Any:
        kit.Study("cut", [run], base).run(executor="inline", on_error="raise")
        return store.load(run, run.id)

    monkeypatch.setattr(Unfinished, "keep", told)
    whole = done()
    steps = kept[0]
    store.delete(run.id)
    kept[0], cut[0] = 0, 2 * steps // 3
    with pytest.raises(KeyboardInterrupt):
        done()
    assert not store.has(run.id) and store.parts(run.id)
    again = done()
    redone = kept[0] - steps
    assert steps > 5 and redone < cut[0] / 2, "what states are made of is computed again, no more"
    assert not store.parts(run.id)
    for column, values in whole.columns.items():
        if column == "seconds":
            continue
        if values.dtype.kind == "f":
            np.testing.assert_allclose(again.columns[column], values, atol=1e-3)
        else:
            assert (again.columns[column] == values).all(), column
