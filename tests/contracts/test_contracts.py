"""The contract tests of each kind, over everything that the package registers."""

from __future__ import annotations

import pytest

from kit import registry
from kit.checks import check

NAMES = [
    f"{kind}/{name}"
    for kind, each in registry.REGISTRIES.items()
    for name in each.names()
    if each.get(name).in_kit
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_registered_keeps_its_contract(name: str) -> None:
    found = check(name)
    assert found
    broken = [f"{what}: {message}" for what, passed, message in found if not passed]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_registered_says_what_it_is(name: str) -> None:
    kind, _, bare = name.partition("/")
    summary = registry.REGISTRIES[kind].get(bare).summary
    assert len(summary) > 5, f"{name} has no docstring"
