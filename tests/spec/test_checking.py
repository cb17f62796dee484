"""Plain values and names; what strangers make of them is in tests/hostile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from kit.spec.checking import (
    SpecError,
    check_name,
    checked,
    read_object,
    reason,
    shown,
    suggest,
    tidy,
    unboxed,
)


def test_a_checked_value_is_of_its_type() -> None:
    count = Annotated[int, Field(strict=True, ge=1)]
    assert checked(count, 3, "n=3: expected a count") == 3
    with pytest.raises(SpecError, match=r"^n=0: expected a count$"):
        checked(count, 0, "n=0: expected a count")


def test_single_numbers_of_numpy_are_pythons() -> None:
    assert [type(unboxed(value)) for value in (np.int64(1), np.float32(0.5))] == [int, float]
    assert unboxed([np.int64(1)]) == [np.int64(1)]


def test_a_name_is_kept_as_it_is() -> None:
    for name in ("minilm w4g32 onnx", "naïve", "日本", "a/b", "../x", "=1", "x²", "👩‍👩‍👧"):
        assert check_name(name, "a name") == tidy(name) == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a\0b", "the character U+0000, which is not seen"),
        ("\u202ecod.exe", "the character U+202E"),
        ("\ud800", "the character U+D800"),
        ("a\nb", "the character U+000A"),
        ("a  b", "is 'a  b'; expected 'a b'"),
        ("e\u0301", "expected 'é'"),
        ("y" * 256, "has 256 characters"),
        ("", "is ''; expected text"),
        (3, "is 3; expected text"),
    ],
)
def test_a_refused_name_is_told_why(name: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_name(name, "the name")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\ufeff{}"])
def test_json_that_is_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SpecError, match="is no JSON"):
        read_object(tmp_path / "x.json")


def test_messages_are_short_and_on_one_line() -> None:
    assert shown("x" * 10_000).startswith("'xxx") and len(shown("x" * 10_000)) < 200
    assert shown(np.zeros((3, 3))).count("\n") == 0
    assert reason(ValueError("one\n  two.")) == "one two"
    assert reason(ValueError()) == "ValueError"
    assert len(reason(ValueError("many words " * 1_000))) <= 300
    assert suggest("onx", ["onnx", "eager"], "runtime") == (
        "unknown runtime 'onx'. Did you mean 'onnx'? There are: eager, onnx"
    )
    assert suggest("x", ["accuracy"], "metric") == "unknown metric 'x'. There are: accuracy"
    assert suggest("x", [], "metric") == "unknown metric 'x'. There is none"
