"""Sizes by preset, and a wrong name is told."""

import pytest

from kit.spec import presets
from kit.spec.checking import SpecError

SIZES = {"smoke": 1, "default": 4, "full": None}


@pytest.mark.parametrize("name", list(SIZES))
def test_the_size_is_that_of_the_preset_in_force(monkeypatch, name):
    monkeypatch.setenv(presets.VARIABLE, name)
    assert presets.of(**SIZES) == SIZES[name]
    assert presets.Preset(**SIZES).value({}) == SIZES[name]


def test_default_without_the_variable(monkeypatch):
    monkeypatch.delenv(presets.VARIABLE, raising=False)
    assert presets.preset_name() == "default"
    monkeypatch.setenv(presets.VARIABLE, "")
    assert presets.preset_name() == "default"


def test_a_wrong_name_gets_the_nearest(monkeypatch):
    monkeypatch.setenv(presets.VARIABLE, "smok")
    with pytest.raises(SpecError, match=r"'smok'.*Did you mean 'smoke'.*default, full, smoke"):
        presets.of(**SIZES)
