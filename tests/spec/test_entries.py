"""One class for all registries: names, owners, aliases, checked arguments."""

from __future__ import annotations

import pickle
from typing import Annotated, Any, Literal

import pytest
from helpers import Cells
from pydantic import Field

from kit.spec.checking import SpecError
from kit.spec.entries import Registry
from kit.spec.ref import Ref, content_hash


def shrink(
    model: Any,
    *,
    bits: Annotated[int, Field(ge=2, le=8)] = 4,
    group: int | None = None,
    how: Literal["near", "up"] = "near",
) -> None:
    """Makes it smaller.

    Not in the summary.
    """


def sized(model: Any, width: int, *, depth: int, rates: tuple[float, ...] = (0.5,)) -> None: ...


@pytest.fixture
def widgets() -> Registry:
    made = Registry("widget", "json", ("model",), ("width",), {"shop:": ("bought", "item")})
    made.register(shrink, version=3, aliases={"s4": {"bits": 4}, "s4g8": {"group": 8}}, colour=1)
    made.register(sized)
    return made


def test_an_entry_knows_its_function(widgets: Registry) -> None:
    entry = widgets.get("shrink")
    assert (entry.function, entry.version, entry.traits["colour"]) == (shrink, "3", 1)
    assert (entry.summary, entry.in_kit) == ("Makes it smaller.", False)
    assert widgets.names() == ["shrink", "sized"]
    assert widgets.aliases()["s4g8"] == Ref("shrink", group=8)
    assert widgets.get("sized").version == widgets.get("sized").version != "1"


def test_a_ref_is_made_canonical(widgets: Registry) -> None:
    full = widgets.canonical(Ref("shrink", bits=4, group=None, how="near"))
    assert full == widgets.canonical("shrink") == widgets.canonical("s4") == Ref("shrink")
    assert full.args == {"bits": 4, "group": None, "how": "near"}
    assert (str(full), full.content) == ("shrink", {})
    assert widgets.canonical(Ref("s4g8", bits=2)) == Ref("shrink", bits=2, group=8)
    for twin in (full, pickle.loads(pickle.dumps(full)), full.replace(bits=3).replace(bits=4)):
        assert (twin, hash(twin), twin.args) == (full, hash(full), full.args)
    assert widgets.canonical(Ref("sized", depth="3", rates=[1])) == Ref(
        "sized", depth=3, rates=(1.0,)
    )
    assert widgets.canonical(Ref("sized", depth=3, width=8)).args["width"] == 8


def test_an_argument_added_with_a_default_changes_no_content(widgets: Registry) -> None:
    before = widgets.canonical(Ref("shrink", bits=2))

    def more(model: Any, *, bits: int = 4, how: str = "near", seed: int = 0) -> None: ...

    widgets.register(more, name="shrink", owner=(shrink.__module__, "shrink"), version=3)
    after = widgets.canonical(Ref("shrink", bits=2))
    assert (after, str(after), content_hash(after)) == (before, str(before), content_hash(before))
    assert widgets.canonical(before).args == {"bits": 2, "how": "near", "seed": 0}
    assert content_hash(before.replace(seed=1)) != content_hash(before)


def test_short_names(widgets: Registry) -> None:
    def short(ref: Ref | str) -> str:
        return widgets.short(widgets.canonical(ref))

    assert short("shrink") == "s4"
    assert short("s4g8") == "s4g8"
    assert short(Ref("shrink", bits=2)) == "shrink(bits=2)"
    assert short(Ref("sized", depth=3, width=8)) == "sized(depth=3)"


def test_a_prefix_stands_for_an_entry(widgets: Registry) -> None:
    def bought(*, item: str) -> None: ...

    widgets.register(bought, version=1)
    assert widgets.canonical("shop:./a/b") == Ref("bought", item="./a/b")


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("shrnk", "unknown widget 'shrnk'. Did you mean 'shrink'? There are: s4, s4g8, shrink"),
        (Ref("shrink", bits=9), "widget shrink: bits is 9; Input should be less than or equal"),
        (Ref("shrink", bits="a"), "widget shrink: bits is 'a'; Input should be a valid integer"),
        (Ref("shrink", how="down"), "widget shrink: how is 'down'; Input should be 'near' or 'up'"),
        (Ref("shrink", bit=4), "widget shrink: unknown argument 'bit'. Did you mean 'bits'?"),
        (Ref("shrink", model=4), "widget shrink: unknown argument 'model'."),
        ("sized", "widget sized: depth is nothing; Field required"),
        (Ref("sized", depth=1, rates=["a"]), "widget sized: rates.0 is 'a'; Input should be"),
        (shrink, "expected the name of a widget or a Ref, got <function shrink"),
    ],
)
def test_a_mistake_names_the_value_and_what_is_allowed(
    widgets: Registry, ref: Any, sentence: str
) -> None:
    with pytest.raises(SpecError) as caught:
        widgets.canonical(ref)
    assert sentence in str(caught.value)


def test_running_a_cell_again_replaces_and_another_owner_raises(
    widgets: Registry, cells: Cells
) -> None:
    first = cells.run("def mine(model, *, n: int = 1): return 1")["mine"]
    widgets.register(first, aliases={"m": {}})
    assert widgets.canonical("mine").args["n"] == 1
    before = widgets.get("mine").version
    second = cells.run("def mine(model, *, n: int = 2): return 2")["mine"]
    widgets.register(second)
    assert widgets.get("mine").function is second
    assert widgets.get("mine").version != before
    assert widgets.canonical("mine").args["n"] == 2
    assert "m" not in widgets.aliases()
    other = cells.run("def make():\n    def mine(model): return 3\n    return mine")["make"]()
    with pytest.raises(SpecError, match="widget 'mine' belongs to __main__.mine; __main__.make"):
        widgets.register(other)
    assert widgets.get("mine").function is second


def test_aliases_and_names_do_not_collide(widgets: Registry) -> None:
    with pytest.raises(SpecError, match="widget alias 's4' of 'sized' is taken"):
        widgets.register(sized, aliases={"s4": {}})
    with pytest.raises(SpecError, match="widget alias 'shrink' of 'sized' is taken"):
        widgets.register(sized, aliases={"shrink": {}})
    with pytest.raises(SpecError, match=r"widget 's4' is short for shrink\(bits=4\); take another"):
        widgets.register(sized, name="s4")


def test_what_the_kit_does_not_supply_is_refused(widgets: Registry) -> None:
    def wrong(model: Any, amount: int) -> None: ...

    with pytest.raises(SpecError) as caught:
        widgets.register(wrong)
    assert str(caught.value) == (
        "widget wrong: positional 'amount' is not supplied by the kit (it supplies model); "
        "put it after `*` to make it an argument"
    )
