"""Plain values and names; what strangers make of them is in tests/hostile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kit.values import (
    SpecError,
    check_name,
    freeze,
    real,
    reason,
    shown,
    suggest,
    tidy,
    unboxed,
    whole,
)


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1), (np.int64(3), 3), (2**63 - 1, 2**63 - 1), (np.uint8(2), 2)]
)
def test_whole_numbers(value: Any, number: int) -> None:
    found = whole(value, "n", 1)
    assert (found, type(found)) == (number, int)


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None, 2**63, np.float64(1), np.array([1])])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(SpecError, match=r"n=\?: expected a whole number"):
        whole(value, "n=?", 1)


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (0.5, 0.5), (np.float32(0.5), 0.5)])
def test_real_numbers(value: Any, number: float) -> None:
    found = real(value, "x", "a share")
    assert (found, type(found)) == (number, float)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400, 1j])
def test_what_is_no_real_number(value: Any) -> None:
    with pytest.raises(SpecError, match=r"x=\?: expected a share"):
        real(value, "x=?", "a share")


def test_numpy_numbers_of_a_spec_are_pythons() -> None:
    frozen = freeze([np.int64(1), np.float64(0.5), np.bool_(True), np.str_("x")])
    assert frozen == (1, 0.5, True, "x")
    assert [type(value) for value in frozen] == [int, float, bool, str]
    assert unboxed([np.int64(1)]) == [np.int64(1)]


def test_a_name_is_kept_as_it_is() -> None:
    for name in ("minilm w4g32 onnx", "naïve", "日本", "a/b", "../x", "=1", "x²", "👩‍👩‍👧"):
        assert check_name(name, "a name") == tidy(name) == name


def test_messages_are_short_and_on_one_line() -> None:
    assert shown("x" * 10_000).startswith("'xxx") and len(shown("x" * 10_000)) < 200
    assert shown(np.zeros((3, 3))).count("\n") == 0
    assert reason(ValueError("one\n  two.")) == "one two"
    assert reason(ValueError()) == "ValueError"
    assert len(reason(ValueError("many words " * 1_000))) <= 300
    assert suggest("onx", ["onnx", "eager"], "runtime") == (
        "unknown runtime 'onx'. Did you mean 'onnx'? There are: eager, onnx"
    )
