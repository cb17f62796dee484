"""Names that become paths, columns, lines of a page: refused in a sentence, or they work."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attacks import NAMES, attempt, cases, names
from helpers import restored, toy_frame
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import kit
from kit import assets, packages, presets, registry, results, values
from kit.architectures.folder import locate
from kit.ref import Ref
from kit.report import publish
from kit.spec import Variant
from kit.values import SpecError


class Empty:
    """A study without a row."""

    def __init__(self, name: str) -> None:
        self.name = name

    def table(self) -> pd.DataFrame:
        return results.to_frame(
            [results.row(study=self.name, variant="v", seed=0, metric="m", value=1)]
        )

    def machines(self) -> pd.DataFrame:
        return pd.DataFrame({"cpu": ["x"]}, index=pd.Index([0], name="machine"))


def task(name: str, **traits: Any) -> None:
    with restored():
        registry.register_task(kind="classification", **traits)(lambda: None)
        registry.tasks.register(lambda: None, name=name, version=1, owner=("x", "y"))


class Blank(Figure):
    """A figure that is written at once."""

    def savefig(self, file: Any, **_: Any) -> None:
        file.write(b"nothing")


# pandas itself makes no frame of half a surrogate pair, other than in a cell of type object
written = names.filter(lambda name: not re.search("[\ud800-\udfff]", name))
PLACES: dict[str, Callable[[str], Any]] = {
    "task": task,
    "labels": lambda name: task("t", labels=[name, "b"]),
    "groups": lambda name: task("t", groups=[name]),
    "shifts": lambda name: task("t", shifts={name: "near"}),
    "Ref": Ref,
    "architecture": registry.architectures.canonical,
    "variant": lambda name: Variant("majority", name=name),
    "scheme": lambda name: Variant("majority", schemes=[name]),
    "metric": registry.metrics.get,
    "table": results.load,
    "asset": assets.card,
    "asset path": assets.path,
    "notebook": lambda name: publish.publish(name, Empty("s")),
    "figure": lambda name: publish.publish("90_x", Empty("s"), figures={name: Blank()}),
    "folder": locate,
    "model": lambda name: Variant(f"hf:{name}").name,
    "revision": lambda name: locate(f"./nothing@{name}"),
    "condition": lambda name: results.condition(**{"a": name, name: 1}),
    "row": lambda name: results.row(variant=name, task=name, metric=name, value=1, note=name),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_place_takes_a_name_or_refuses_it(place: str) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise ConnectionError("the package index was not reached here")

    @cases(24, 500)
    @given(names)
    def try_it(name: str) -> None:
        attempt(lambda: PLACES[place](name), FileNotFoundError, ConnectionError)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "download", no_network)
        patch.setattr("huggingface_hub.snapshot_download", no_network)
        for name in NAMES:
            attempt(lambda name=name: PLACES[place](name), FileNotFoundError, ConnectionError)
        try_it()


@pytest.mark.parametrize("value", [None, 3, True, b"x", ["x"], ("x",), {"x": 1}, object(), 1.5])
def test_what_is_no_text_is_no_name(value: Any) -> None:
    for place in ("task", "groups", "Ref", "architecture", "variant"):
        assert attempt(lambda place=place: PLACES[place](value)) is None, place
    with pytest.raises(SpecError, match="expected text"):
        kit.task_from_frame(value, toy_frame())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a\0b", "the character U+0000, which is not seen"),
        ("\u202ecod.exe", "the character U+202E"),
        ("\ud800", "the character U+D800"),
        ("a  b", "is 'a  b'; expected 'a b'"),
        ("e\u0301", "expected 'é'"),
        ("y" * 256, "has 256 characters"),
        ("", "is ''; expected text"),
    ],
)
def test_a_refused_name_is_told_why(name: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        values.check_name(name, "the name")
    assert sentence in str(caught.value)


@cases(4, 60)
@given(names, names, written, written)
def test_names_from_frames(name: str, shift: str, group: str, value: str) -> None:
    frame = toy_frame(60)
    frame[group] = [value if row % 3 else "other" for row in range(60)]
    with restored():
        ref = attempt(
            lambda: kit.task_from_frame(
                name, frame, groups=[group], shifts={shift: toy_frame(40, 1)}
            )
        )
        if ref is not None:
            found = kit.tasks.load(ref)
            assert set(found.data) >= {"train", shift, f"{shift}/validation"}
            assert set(found.data["train"][group]) <= {values.tidy(value) or "nan", "other"}


@cases(20, 300)
@given(st.one_of(names.filter(lambda name: "\0" not in name), st.just("SMOKE")))
def test_any_preset(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(UnicodeEncodeError):
        patch.setenv("KIT_PRESET", name)
        attempt(presets.preset)


@pytest.mark.parametrize("value", ["", "/proc/nothing", "precious/x", "x" * 300, "~no-such-user/x"])
def test_a_cache_that_cannot_be(value: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise ConnectionError("the package index was not reached here")

    monkeypatch.setattr(assets, "download", no_network)
    monkeypatch.setenv("KIT_CACHE", value.replace("precious", str(world / "precious")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(world / "a/b/project/cache"))
    assert attempt(lambda: assets.path("minilm"), OSError, SpecError) is None
