"""Contract tests: whether something registered keeps what its kind promises (CONTRIBUTING.md).

A probe is a function that raises what is wrong, or returns a remark; its name is what the table
shows. Models and data are tiny and in a temporary store; a task alone is checked on its own data.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from kit import registry, store, tasks
from kit.checks_data import TEXTS, columns_of, register_tiny
from kit.entries import Entry, positional, suggest
from kit.registry import REGISTRIES
from kit.spec import Ref, Run, SpecError, Undefined, Variant

if TYPE_CHECKING:
    import torch

    from kit.architectures.model import Model
    from kit.measurements.bench import Raw

CLOSE = 1e-4
"""Share of the largest logit by which a batch's shape may change rounding."""
