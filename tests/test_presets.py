"""The three presets have the same shape, and a wrong name is told."""

import pytest

from kit.presets import _PRESETS, preset, preset_name
from kit.values import SpecError


def test_default_without_the_variable(monkeypatch):
    monkeypatch.delenv("KIT_PRESET", raising=False)
    assert preset_name() == "default"
    assert preset()["launches"] == 4
    monkeypatch.setenv("KIT_PRESET", "")
    assert preset_name() == "default"


@pytest.mark.parametrize("name", list(_PRESETS))
def test_every_preset_has_the_same_keys_and_cannot_be_changed(monkeypatch, name):
    monkeypatch.setenv("KIT_PRESET", name)
    sizes = preset()
    assert set(sizes) == set(_PRESETS["default"])
    with pytest.raises(TypeError):
        sizes["seeds"] = 99


def test_sizes_grow_from_smoke_to_full():
    for key in ("seeds", "causal_seeds", "epochs", "tokens", "launches", "seconds"):
        smoke, default, full = (_PRESETS[name][key] for name in ("smoke", "default", "full"))
        assert smoke <= default <= full, key


def test_a_wrong_name_gets_the_nearest(monkeypatch):
    monkeypatch.setenv("KIT_PRESET", "smok")
    with pytest.raises(SpecError, match=r"'smok'.*Did you mean 'smoke'.*default, full, smoke"):
        preset()
