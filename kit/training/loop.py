"""The optimizer steps of a training run, resumable to the bit."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.architectures.model import Model, seeded
from kit.architectures.outputs import logits
from kit.machine.progress import report
from kit.spec.ref import content_hash
from kit.spec.spec import Training
from kit.store.store import write_text
from kit.training.batches import Batch, Feed

if TYPE_CHECKING:
    import torch

CHECKPOINT_SECONDS = 30.0
"""Least time between two checkpoints; a slow disk makes it longer."""

LATELY = 20
"""Steps whose mean loss is told while it trains."""

CURVE = ("step", "seconds", "tokens", "train_loss", "validation_loss", "rate")


class Diverged(RuntimeError):
    """The loss became infinite or no number."""


class Loop:
    """A training run: its state is what a checkpoint holds."""

    def __init__(
        self,
        model: Model,
        feed: Feed,
        training: Training,
        *,
        rate: float,
        seed: int,
        total: int,
    ) -> None:
        import torch

        self.module, self.feed, self.training = model.module, feed, training
        self.rate, self.seed, self.total = rate, seed, total
        self.keeps_best = model.kind == "classifier"
        self.key = content_hash(training, rate, seed, total)
        self.device = next(self.module.parameters()).device
        trained = [p for p in self.module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": training.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.curve: list[list[float]] = []
        self.since: list[float] = []
        self.best: dict[str, torch.Tensor] | None = None

    def run(self, folder: Path | None) -> None:
        """Trains to the end.

        Args:
            folder: gets the curve and checkpoints, and is resumed from; None for a short trial,
                whose validation loss is taken at its end alone.
        """
        import torch

        marks = {self.total}
        if folder is not None:
            marks |= {step for step in self.feed.marks if step < self.total}
        with seeded(self.seed):
            if folder is not None:
                self._restore(folder / "checkpoint" / "state.pt")
            self.module.train()
            wait, saved = CHECKPOINT_SECONDS, time.monotonic()
            what = "training" if folder else f"rate {self.rate:g}"
            tell = _Telling(self, what, len(marks) if self.keeps_best else 1)
            while self.step < self.total:
                self._advance(self.feed.batch(self.step))
                tell()
                if self.step in marks:
                    self._evaluate()
                due = folder is not None and time.monotonic() - saved >= wait
                if folder is not None and (self.step in marks or due):
                    write_rows(folder / "curve.csv", CURVE, self.curve)
                if folder is not None and due and self.step < self.total:
                    start = time.monotonic()
                    self._save(folder / "checkpoint" / "state.pt")
                    saved = time.monotonic()
                    wait = max(CHECKPOINT_SECONDS, 20 * (saved - start))
        if self.best is not None:
            self.module.load_state_dict(self.best)
        self.module.eval()
        torch.clear_autocast_cache()

    def _advance(self, batch: Batch) -> None:
        """Makes one optimizer step."""
        import torch

        start = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self._share(self.step)
        with self._precision():
            loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Diverged(
                f"the loss is {value} at step {self.step + 1} of {self.total} with rate "
                f"{self.rate:g}; try a smaller rate or a longer warm-up"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        self.tokens += batch.tokens
        self.since.append(value)
        self.seconds += time.perf_counter() - start

    def _share(self, step: int) -> float:
        """Returns the share of the peak rate: up over the warm-up, then down to zero."""
        warm = max(1, round(self.training.warmup * self.total))
        return min((step + 1) / warm, (self.total - step) / max(1, self.total - warm + 1))

    def _precision(self) -> AbstractContextManager[Any]:
        import torch

        if self.training.dtype == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Returns the mean cross entropy of a batch, in nats a token or an item."""
        from torch.nn import functional

        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        scores = logits(self.module(**inputs)).float()
        targets = batch.targets.to(self.device)
        return functional.cross_entropy(scores.flatten(0, -2), targets.flatten())

    def _evaluate(self) -> None:
        """Adds a row to the curve and, of a classifier, keeps the weights if they are the best."""
        import torch

        self.module.eval()
        total = count = 0.0
        with torch.no_grad(), self._precision():
            for batch in self.feed.validation():
                total += float(self._loss(batch)) * batch.targets.numel()
                count += batch.targets.numel()
        self.module.train()
        held_out = total / count if count else math.nan
        shown = sum(self.since) / max(1, len(self.since))
        earlier = [row[CURVE.index("validation_loss")] for row in self.curve]
        if self.keeps_best and held_out < min(earlier, default=math.inf):
            state = self.module.state_dict()
            self.best = {name: tensor.clone() for name, tensor in state.items()}
        rate = self.rate * self._share(self.step - 1)
        self.curve.append([self.step, self.seconds, self.tokens, shown, held_out, rate])
        self.since = []

    def _save(self, path: Path) -> None:
        """Writes the state of the run, atomically."""
        import torch

        path.parent.mkdir(parents=True, exist_ok=True)
        kept = ("key", "step", "tokens", "seconds", "curve", "since", "best")
        state = {name: getattr(self, name) for name in kept} | {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def _restore(self, path: Path) -> None:
        """Goes on from a checkpoint, if there is one of this very run."""
        import torch

        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["key"] != self.key:
            return
        for name in ("step", "tokens", "seconds", "curve", "since", "best"):
            setattr(self, name, state[name])
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])


class _Telling:
    """Says once a second how far a training run is: time left, epoch or step, loss.

    Args:
        loop: the run, from where it begins or goes on.
        what: it is, in front.
        epochs: into which the steps are told apart; 1 tells of steps.
    """

    def __init__(self, loop: Loop, what: str, epochs: int) -> None:
        self._loop, self._what, self._epochs = loop, what, epochs
        self._began, self._from, self._told = time.monotonic(), loop.step, 0.0

    def __call__(self) -> None:
        now, loop = time.monotonic(), self._loop
        if now - self._told < 1:
            return
        self._told = now
        left = (now - self._began) / (loop.step - self._from) * (loop.total - loop.step)
        place = f"step {loop.step:,} of {loop.total:,}"
        if self._epochs > 1:
            place = f"epoch {self._epochs * loop.step / loop.total:.1f} of {self._epochs}"
        recent = loop.since[-LATELY:]
        time_left = f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
        loss = sum(recent) / len(recent)
        report(f"{self._what}, {time_left}, {place}, loss {loss:.3g}")


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a small CSV atomically."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_text(path, text.getvalue())
