"""The contract tests of each kind, over everything that the package registers."""

from __future__ import annotations

import pytest

from kit.checks import check
from kit.spec import registry

NAMES = [
    f"{kind}/{name}"
    for kind, each in registry.REGISTRIES.items()
    for name in each.names()
    if each.get(name).in_kit
]
SLOW = (  # they compile or export
    *("runtimes/compiled", "runtimes/onnx", "runtimes/onnx_decoder", "exporters/to_onnx_decoder"),
    *("runtimes/openvino", "exporters/to_openvino"),
    *("schemes/dynamic_int8", "schemes/matmul_nbits", "schemes/nncf_weights"),
)
MARKED = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NAMES]


@pytest.mark.parametrize("name", MARKED)
def test_what_is_registered_keeps_its_contract(name: str) -> None:
    found = check(name)
    assert len(found) > 1 or found[0].message.startswith("skipped")
    broken = [f"{what}: {message}" for what, passed, message in found if not passed]
    assert not broken, "\n".join(broken)


def test_a_short_name_keeps_it_too() -> None:
    assert all(passed for _, passed, _ in check("schemes/w4g32"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_registered_says_what_it_is(name: str) -> None:
    kind, _, bare = name.partition("/")
    entry = registry.REGISTRIES[kind].get(bare)
    assert len(entry.summary) > 5, f"{name} has no docstring"
    unversioned = kind in ("metrics", "artifacts")  # their rows are computed anew
    assert unversioned or entry.declared_version is not None, f"{name} has no version="
