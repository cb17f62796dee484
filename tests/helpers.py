"""Small stand-ins for several folders of tests: data, models, a notebook."""

from __future__ import annotations

import contextlib
import json
import linecache
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kit.architectures.tokenizers import HFTokenizer
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Training, Variant

if TYPE_CHECKING:
    from torch import nn

KINDS = ("awful", "bad", "awry", "super", "sweet", "nice")


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Gives all registries back as they were before the block."""
    with contextlib.ExitStack() as stack:
        for each in registry.REGISTRIES.values():
            stack.enter_context(each.restored())
        yield


def measure(runner: Any, ask: Ref) -> Any:
    """Measures here what was asked for, with a runner or a driver."""
    ask = registry.measurements.canonical(ask)
    return registry.measurements.get(ask.name).function(runner, **ask.args)


def driver_of(variant: Variant) -> Any:
    """Returns a driver that works in this process and keeps nothing."""
    from kit.analysis.stopping import Stopping
    from kit.machine.workers import inline
    from kit.measurements.interface import Driver

    return Driver(variant, inline, {}, lambda *_: None, lambda _: None, Stopping)


def toy_frame(count: int = 120, start: int = 0) -> Any:
    """Texts whose first word gives the label away, of very different lengths."""
    import pandas as pd

    rng = np.random.default_rng(start)
    labels = [number % 2 for number in range(count)]
    texts = [
        " ".join(map(str, (KINDS[3 * label + number % 3], *rng.integers(0, 10**6, 1 + number % 9))))
        for number, label in enumerate(labels)
    ]
    country = ["de" if number % 3 else "fr" for number in range(count)]
    return pd.DataFrame({"text": texts, "label": labels, "country": country})


def toy_task(name: str = "toys", **arguments: Any) -> Ref:
    """Registers a classification task with one near shift, `later`."""
    from kit.tasks import task_from_frame

    given = {"groups": ["country"], "shifts": {"later": toy_frame(60, start=1)}, **arguments}
    return task_from_frame(name, toy_frame(), **given)


def toy_texts(name: str = "prose") -> Ref:
    """Registers a language task of short documents."""
    from kit.tasks import task_from_text

    words = "the cat sat on a mat and looked at another dog in some old garden".split()
    rng = np.random.default_rng(0)
    texts = [f"{number} " + " ".join(rng.choice(words, 12)) for number in range(60)]
    return task_from_text(name, texts)


def toy_encoder(vocab_size: int, *, size: int = 16) -> nn.Module:
    """Hidden states [b, t, size]: an embedding and a linear layer."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocab_size, size)
            self.layer = torch.nn.Linear(size, size)

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return torch.tanh(self.layer(self.embedding(input_ids)))

    return Encoder()


def toy_causal(vocab_size: int, *, size: int = 8) -> nn.Module:
    """Logits [b, t, vocab_size] of a token from the one before it."""
    import torch

    class Bigram(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocab_size, size)
            self.output = torch.nn.Linear(size, vocab_size)

        def forward(self, input_ids: Any) -> Any:
            return self.output(self.embedding(input_ids))

    return Bigram()


def toy_rule(*, misses: int = 0) -> Any:
    """A predictor: the first word decides, but for every n-th text (none at 0)."""

    def predict(texts: Sequence[str]) -> np.ndarray:
        scores = np.zeros((len(texts), 2), np.float32)
        for row, text in enumerate(texts):
            good = text.startswith(KINDS[3:])
            scores[row, int(good != bool(misses and row % misses == 0))] = 1
        return scores

    return predict


def toy_variant(task: Ref, **changes: Any) -> Variant:
    """The toy encoder, trained on the toy task until it knows the words."""
    budget = Budget(epochs=15)
    training = Training(task, budget, rates=(0.03,), batch_size=8, length=32)
    return Variant(Ref("toy_encoder"), training, name="base").replace(**changes)


class Cells:
    """Runs cells in one `__main__`, their text in linecache, as IPython's kernel does."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._count = 0
        self.restart()

    def restart(self) -> None:
        """Forgets everything, as a restarted kernel does."""
        self._main = types.ModuleType("__main__")
        self._patch.setitem(sys.modules, "__main__", self._main)

    def run(self, text: str) -> dict[str, Any]:
        """Runs one cell and returns the notebook's names."""
        text = textwrap.dedent(text)
        self._count += 1
        name = f"/tmp/ipykernel_1/{self._count}.py"
        lines = text.splitlines(keepends=True)
        linecache.cache[name] = (len(text), None, lines, name)
        exec(compile(text, name, "exec"), self._main.__dict__)
        return vars(self._main)


def saved_tokenizer(folder: Path, save: Any, **settings: Any) -> HFTokenizer:
    """Returns the tokenizer that `save` writes, with other settings."""
    save(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return HFTokenizer(folder)
