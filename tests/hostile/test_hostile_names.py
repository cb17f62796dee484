"""Names that become paths, columns, lines of a page: refused in a sentence, or they work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from attacks import NAMES, attempt, cases, names
from helpers import restored, toy_frame
from hypothesis import given
from matplotlib.figure import Figure

import kit
from kit.architectures.folder import locate
from kit.assets import assets, packages
from kit.report import publish
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.store import results


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

    def record(self) -> dict[str, Any]:
        return {}


def task(name: str, **traits: Any) -> None:
    with restored():
        kit.register_task(kind="classification", **traits)(lambda: None)
        registry.tasks.register(lambda: None, name=name, version=1, owner=("x", "y"))


class Blank(Figure):
    """A figure that is written at once."""

    def savefig(self, file: Any, **_: Any) -> None:
        file.write(b"nothing")


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
    "table": kit.load,
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
