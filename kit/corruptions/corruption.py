"""What a corruption is, and how examples are corrupted: the same in every variant and batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from kit import tasks
from kit.corruptions.words import kept
from kit.spec import registry
from kit.spec.checking import SpecError, shown
from kit.spec.ref import Ref, content_hash
from kit.spec.roles import Axis, task_before

if TYPE_CHECKING:
    import datasets
    import pandas as pd

Severity = Annotated[int, Field(ge=1, le=5)]
"""From 1, which a reader hardly minds, to 5, with which a reader can just live."""
SEVERITIES = (1, 2, 3, 4, 5)


def _fits(corruption: Ref | None, info: ValidationInfo) -> Ref | None:
    task = task_before(info)
    if corruption is not None and task is not None and (reason := mismatch(corruption, task)):
        raise SpecError(reason)
    return corruption


CorruptionRef = Annotated[Ref | None, Axis("corruptions"), AfterValidator(_fits)]
"""An argument that names a corruption of the examples of the task before it, or None."""


def examples_of(
    data: tasks.Task, rows: datasets.Dataset, corruption: Ref | None = None
) -> list[Any]:
    """Returns the raw examples of a task's rows, corrupted where asked for.

    Args:
        data: the task.
        rows: some of its rows.
        corruption: canonical.

    Raises:
        SpecError: the corruption is for another kind of example.
    """
    return data.put(rows, contents_of(data, rows, corruption))


def contents_of(
    data: tasks.Task, rows: datasets.Dataset, corruption: Ref | None = None
) -> list[Any]:
    """Returns what `Task.contents` gives of rows, corrupted where asked for; see `examples_of`."""
    contents = data.contents(rows)
    if corruption is None:
        return contents
    if reason := mismatch(corruption, data.ref):
        raise SpecError(reason)
    return corrupted(contents, rows["id"], corruption)


def corrupted(examples: Sequence[Any], items: Sequence[str], ref: Ref) -> list[Any]:
    """Returns raw examples as a corruption leaves them.

    What is drawn depends on the item's id and the corruption's name alone. So an item is corrupted
    alike for every variant, worker and batch, and at a higher severity the draws are the same: it
    keeps the faults of the lower one and gets more.

    Args:
        examples: texts; pairs of texts, each of which is corrupted; or images uint8 [h, w] or
            [c, h, w] of 0..255.
        items: their ids.
        ref: canonical; the corruption and its severity.

    Raises:
        SpecError: the corruption makes something else of a text or an image.
    """
    change = registry.corruptions.get(ref.name).function
    made: list[Any] = []
    for example, item in zip(examples, items, strict=True):
        rng = np.random.default_rng(int(content_hash(item, ref.name), 16))
        if isinstance(example, tuple):
            drawn = (rng, np.random.default_rng(int(content_hash(item, ref.name, "pair"), 16)))
            made.append(tuple(map(partial(_corrupted_text, ref), example, drawn)))
            continue
        if isinstance(example, str):
            made.append(_corrupted_text(ref, example, rng))
            continue
        after = np.asarray(change(example / 255, rng, **ref.args))
        if after.shape != example.shape or not np.all((after >= 0) & (after <= 1)):
            raise SpecError(
                f"corruption {ref.name} gave pixels {after.shape} from {after.min():.3g} to "
                f"{after.max():.3g}; expected {example.shape} in 0..1"
            )
        made.append(np.rint(255 * after).astype(np.uint8))
    return made


def _corrupted_text(ref: Ref, text: str, rng: np.random.Generator) -> str:
    made = registry.corruptions.get(ref.name).function(text, rng, **ref.args)
    if not isinstance(made, str):
        raise SpecError(f"corruption {ref.name} gave {shown(made)}; expected a text")
    return made


def mismatch(corruption: Ref, task: Ref | str) -> str:
    """Returns why a corruption does not fit a task; empty where it does."""
    wanted = registry.corruptions.get(corruption.name).traits["modality"]
    held, name = tasks.modality(task), registry.tasks.canonical(task).name
    return "" if wanted == held else f"{corruption.name} corrupts {wanted}s; {name} holds {held}s"


def graded(corruptions: Sequence[str | Ref], severities: Sequence[int]) -> list[Ref]:
    """Returns canonical Refs: each that has no severity once a severity, others as they are.

    Raises:
        SpecError: an unknown name, or a severity that is none of 1 to 5.
    """
    if isinstance(corruptions, str | Ref):
        corruptions = [corruptions]
    refs = [ref if isinstance(ref, Ref) else Ref(ref) for ref in corruptions]
    levels = [
        [ref] if "severity" in ref.args else [ref.replace(severity=level) for level in severities]
        for ref in refs
    ]
    found = [registry.corruptions.canonical(ref) for each in levels for ref in each]
    return list(dict.fromkeys(found))


def corrupted_examples(
    task: Ref | str,
    corruptions: Sequence[str | Ref] | None = None,
    severities: Sequence[int] = (1, 3, 5),
    n: int = 3,
    split: str = "test",
) -> pd.DataFrame:
    """Returns examples before and after, for reading: is the label still the right one?

    Args:
        task: name or Ref.
        corruptions: names or Refs; all that fit the task where not given.
        severities: of each that has none.
        n: examples of each, the first by content hash.
        split: of the task.

    Returns:
        Columns corruption, severity, label, before, after, and for texts `words` and `negations`,
        the shares of them that are still there as they were.

    Raises:
        SpecError: an unknown name, a wrong severity, or a corruption that does not fit the task.
    """
    import pandas as pd

    data = tasks.load(task)
    rows = data.split(split, n)
    if corruptions is None:
        names = registry.corruptions.names()
        corruptions = [name for name in names if not mismatch(Ref(name), data.ref)]
    labelled = "label" in rows.column_names
    labels = [*map(data.shown_label, rows["label"])] if labelled else [""] * len(rows)
    found: list[dict[str, Any]] = []
    for ref in graded(corruptions, severities):
        pairs = zip(examples_of(data, rows), examples_of(data, rows, ref), strict=True)
        for label, (before, after) in zip(labels, pairs, strict=True):
            about = {"corruption": ref.name, **ref.args, "label": label}
            about |= {"before": before, "after": after}
            texts = [" ".join(each) if data.pairs else each for each in (before, after)]
            found.append(about | (kept(*texts)._asdict() if data.modality == "text" else {}))
    return pd.DataFrame(found)
