"""The hash of a notebook's definition: what it says and reaches counts, how it is laid out not."""

from __future__ import annotations

import pytest
from helpers import Cells

from kit.spec.checking import SpecError
from kit.spec.definition_hash import source_hash

SCHEME = """
    FACTOR = 2
    TABLE = {"a": [1, 2]}

    def helper(x):
        return x * FACTOR

    def scheme(model, *, bits=4):
        return helper(bits) + TABLE["a"][0]
"""


def hashed(cells: Cells, *texts: str, name: str = "scheme") -> str:
    cells.restart()
    for text in texts:
        scope = cells.run(text)
    return source_hash(scope[name])


SAME = {
    "nothing": SCHEME,
    "comments": SCHEME.replace("return helper", "# why\n        return helper"),
    "docstring": SCHEME.replace("*, bits=4):", '*, bits=4):\n        """Says what."""'),
    "moved lines": "\n\n\n    import math\n" + SCHEME,
    "layout": SCHEME.replace("bits=4", "bits = 4"),
    "magics": "\n    get_ipython = print\n    get_ipython('matplotlib', 'inline')" + SCHEME,
    "another cell content": SCHEME + "\n    unused = 3\n",
}
OTHER = {
    "body": SCHEME.replace("helper(bits)", "helper(bits + 1)"),
    "default": SCHEME.replace("bits=4", "bits=5"),
    "helper": SCHEME.replace("x * FACTOR", "x + FACTOR"),
    "constant": SCHEME.replace("FACTOR = 2", "FACTOR = 3"),
    "type of a constant": SCHEME.replace("FACTOR = 2", "FACTOR = 2.0"),
    "deep constant": SCHEME.replace("[1, 2]", "[1, 3]"),
    "emptied constant": SCHEME.replace("FACTOR = 2", "FACTOR = []"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_layout_does_not_count(cells: Cells, text: str) -> None:
    assert hashed(cells, text) == hashed(cells, SCHEME)


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER.keys())
def test_what_it_says_and_reaches_counts(cells: Cells, text: str) -> None:
    assert hashed(cells, text) != hashed(cells, SCHEME)


def test_helpers_may_stand_in_other_cells(cells: Cells) -> None:
    top, bottom = SCHEME.split("    def scheme")
    assert hashed(cells, top, "    def scheme" + bottom) == hashed(cells, SCHEME)


def test_a_cell_that_ran_again_is_the_same_and_an_edited_one_is_not(cells: Cells) -> None:
    cells.run(SCHEME)
    before = source_hash(cells.run(SCHEME)["scheme"])
    assert source_hash(cells.run("FACTOR = 7")["scheme"]) != before
    assert source_hash(cells.run("FACTOR = 2")["scheme"]) == before


MODEL = """
    import torch
    WIDTH = 4

    class Base(torch.nn.Module):
        def scale(self):
            return 2

    class Block(Base):
        '''A block.'''
        size: int = WIDTH

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(WIDTH, WIDTH)

        @property
        def twice(self):
            return self.scale() * 2

        def forward(self, x):
            return self.layer(x)

    def network(vocab_size, *, depth=2):
        return torch.nn.Sequential(*[Block() for _ in range(depth)])
"""


def test_classes_are_followed_to_their_bases_and_methods(cells: Cells) -> None:
    before = hashed(cells, MODEL, name="network")
    assert hashed(cells, MODEL.replace("'''A block.'''", ""), name="network") == before
    for old, new in (
        ("return 2", "return 3"),
        ("self.scale() * 2", "self.scale() * 3"),
        ("self.layer(x)", "-self.layer(x)"),
        ("WIDTH = 4", "WIDTH = 8"),
        ("size: int = WIDTH", "size: int = 9"),
    ):
        assert hashed(cells, MODEL.replace(old, new), name="network") != before, new


def test_a_dataclass_with_a_method(cells: Cells) -> None:
    text = """
        from dataclasses import dataclass
        @dataclass
        class Settings:
            size: int = 2
            def double(self):
                return self.size * 2
        def scheme(model):
            return Settings().double()
    """
    before = hashed(cells, text)
    assert hashed(cells, text.replace("size: int = 2", "size: int = 3")) != before


def test_arrays_count_by_their_content(cells: Cells) -> None:
    text = """
        import numpy as np
        table = np.arange(4)
        def scheme(model): return table.sum()
    """
    before = hashed(cells, text)
    assert hashed(cells, text) == before
    assert hashed(cells, text.replace("arange(4)", "arange(4).reshape(2, 2)")) != before
    assert hashed(cells, text.replace("arange(4)", "arange(4.0)")) != before
    assert hashed(cells, text.replace("arange(4)", "arange(1, 5)")) != before


def test_what_an_inner_function_takes_from_the_outer_counts(cells: Cells) -> None:
    text = """
        def make(factor):
            def scheme(model): return model * factor
            return scheme
        scheme = make(2)
    """
    assert hashed(cells, text) != hashed(cells, text.replace("make(2)", "make(3)"))


def test_recursion_ends(cells: Cells) -> None:
    text = """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
    """
    other = text.replace("n == 0", "n == 2")
    assert hashed(cells, text, name="odd") != hashed(cells, other, name="odd")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("np.random.default_rng(0)", "Generator"),
        ("object()", "object"),
        ("open('/dev/null')", "Te"),
    ],
)
def test_a_global_without_stable_content_is_refused(cells: Cells, value: str, kind: str) -> None:
    text = f"""
        import numpy as np
        state = {value}
        def scheme(model): return state
    """
    with pytest.raises(SpecError, match=rf"global 'state' \({kind}.*make it an argument"):
        hashed(cells, text)
    cells.run("getattr(state, 'close', int)()")


def test_what_has_no_source_says_so(cells: Cells) -> None:
    scope = cells.run("exec('def scheme(model): return 1')")
    with pytest.raises(SpecError, match="scheme: no source to hash.*version="):
        source_hash(scope["scheme"])
