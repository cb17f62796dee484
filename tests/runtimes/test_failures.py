"""What libraries say while they fail, and what they leave behind."""

from __future__ import annotations

import logging

from kit.runtimes.failures import quietly


def test_the_root_logger_is_afterwards_as_it_was() -> None:
    root = logging.getLogger()
    before = (root.level, [*root.filters], [*root.handlers], root.manager.disable)
    with quietly():  # what OpenVINO's conversion does
        root.setLevel(logging.ERROR)
        root.addFilter(logging.Filter("other"))
        root.addHandler(logging.NullHandler())
    assert (root.level, root.filters, root.handlers, root.manager.disable) == before
