"""A task: named data in splits, prepared once, kept in the store and read from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.spec import registry
from kit.spec.checking import SpecError, checked, shown, suggest
from kit.spec.fields import Count
from kit.spec.kinds import TASKS
from kit.spec.ref import Ref
from kit.tasks.prepared import file_name, folder_of, read_card
from kit.tasks.splits import read_split
from kit.tasks.templates import Question, Template, put

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Task:
    """Named data, ready to be used.

    Attributes:
        ref: what it was loaded by.
        kind: `classification`, `multi_label` (any number of labels an item), `regression` (a
            number an item), `choices` (answers on offer, of which some are right), `generation`
            (an answer is written), `language`, or
            `lm_eval` and `lm_eval_choices` (those of lm-evaluation-harness).
        labels: class names in the order of the labels' numbers; empty where there are none.
        shifts: name of each shifted split and whether it is `near` or `far`.
        rule: how near and far were told apart.
        groups: columns whose slices are reported.
        data: split name -> rows sorted by content hash. Columns: `id` (16 hexadecimal digits of the
            normalised text's hash, or of the pixels'), `text` (and `text_pair`, the second text of
            a pair) or `pixels` (c * h * w whole numbers of 0..255, row by row), `cluster`, and
            where they apply `label` (a class's number; 0 or 1 for each of `labels`; a number; the
            places of the right ones of `choices`), `choices`, `valence` and the group columns.
            Splits: `train`, `validation`, `test`, and for each shift `<shift>` (its test part) and
            `<shift>/validation`. What is not tested on may be empty.
        image_shape: c, h, w of a task of images; None where items are texts.
        template: how a question is put, of a task of choices.
    """

    ref: Ref
    kind: str
    labels: tuple[str, ...]
    shifts: Mapping[str, str]
    rule: str
    groups: tuple[str, ...]
    data: datasets.DatasetDict
    image_shape: tuple[int, ...] | None = None
    template: Template | None = None

    @property
    def modality(self) -> str:
        """What its items are: `text` or `image`."""
        return "text" if self.image_shape is None else "image"

    @property
    def pairs(self) -> bool:
        """Whether its items are pairs of texts."""
        return any("text_pair" in rows.column_names for rows in self.data.values())

    @property
    def absent(self) -> list[str]:
        """Names of the classes that no item of the training split has."""
        present = set(self.data["train"]["label"]) if self.kind == "classification" else set()
        names = enumerate(self.labels) if self.kind == "classification" else ()
        return [name for place, name in names if place not in present]

    def examples(self, rows: datasets.Dataset) -> list[Any]:
        """Returns the raw examples of some rows, as runners read them and figures show them.

        Texts; pairs of texts, as tuples; images, uint8 [h, w] of 0..255 ([c, h, w] where there are
        several channels); or of questions what is put to a model.
        """
        return self.put(rows, self.contents(rows))

    def put(self, rows: datasets.Dataset, contents: Sequence[Any]) -> list[Any]:
        """Returns the raw examples of some rows whose contents may have been changed."""
        if self.template is None:
            return list(contents)
        return [put(self.template, each).context for each in self.questions(rows, contents)]

    def read(self, rows: datasets.Dataset) -> list[Any]:
        """Returns what models read of some rows: of questions with the first answer on offer.

        A question alone may be nothing, where the answers are whole sentences.
        """
        if self.template is None:
            return self.examples(rows)
        asked = (put(self.template, each) for each in self.questions(rows, self.contents(rows)))
        return [context + said[0] for context, said in asked]

    def questions(self, rows: datasets.Dataset, contents: Sequence[Any]) -> list[Question]:
        """Returns the items of a task of choices or of generation, with contents as given.

        What may be written stands as choices, all of them right.
        """
        parts = [each if isinstance(each, tuple) else ("", each) for each in contents]
        if self.kind == "generation":
            answers = map(tuple, rows["label"])
            return [
                Question(passage, asked, offer, tuple(range(len(offer))))
                for (passage, asked), offer in zip(parts, answers, strict=True)
            ]
        known = zip(parts, rows["choices"], rows["label"], strict=True)
        return [
            Question(passage, asked, tuple(offer), tuple(right))
            for (passage, asked), offer, right in known
        ]

    def contents(self, rows: datasets.Dataset) -> list[Any]:
        """Returns the texts, pairs of texts (a passage and what is asked of it) or images."""
        if self.image_shape is None:
            texts = list(rows["text"])
            return list(zip(texts, rows["text_pair"], strict=True)) if self.pairs else texts
        values = np.stack(rows.with_format("numpy")[:]["pixels"])
        shape = self.image_shape[1:] if self.image_shape[0] == 1 else self.image_shape
        return list(values.astype(np.uint8).reshape(-1, *shape))

    def shown_label(self, value: Any) -> str:
        """Returns a label as a reader is shown it: a class, all that an item has, or a number."""
        if self.kind == "classification":
            return self.labels[int(value)]
        if self.kind == "generation":
            return " / ".join(value)
        if TASKS[self.kind].artifact == "choices":
            return ", ".join(ascii_uppercase[place] for place in value)
        if self.kind == "multi_label":
            return ", ".join(n for n, mark in zip(self.labels, value, strict=True) if mark)
        return f"{value:g}"

    def split(self, name: str, limit: int | None = None) -> datasets.Dataset:
        """Returns one split, or its first `limit` items by content hash.

        Raises:
            SpecError: no such split, one that holds nothing, or a limit below 1.
        """
        if name not in self.data:
            raise SpecError(suggest(name, self.data, f"split of task {self.ref.name}"))
        if not len(self.data[name]):
            sizes = ", ".join(f"{key} {len(rows)}" for key, rows in self.data.items())
            raise SpecError(
                f"split {name!r} of task {self.ref.name} is empty; items in each: {sizes}"
            )
        if limit is None:
            return self.data[name]
        given = f"limit={shown(limit)} for {self.ref.name}/{name}"
        limit = checked(Count, limit, f"{given}: expected a whole number of at least 1")
        rows = self.data[name]
        return rows.select(range(min(limit, len(rows))))


_loaded: dict[Path, Task] = {}


def load(ref: Ref | str) -> Task:
    """Returns a task, preparing it on the first call.

    Raises:
        SpecError: no such task, or one whose function returned data that do not fit its promises.
    """
    import datasets

    ref = registry.tasks.canonical(ref)
    folder = folder_of(ref)
    if folder not in _loaded:
        traits = registry.tasks.get(ref.name).traits
        splits = read_card(folder)["sizes"]
        names = tuple(traits["labels"]) if traits["kind"] == "classification" else ()
        data = {
            name: read_split(folder / file_name(place), names) for place, name in enumerate(splits)
        }
        _loaded[folder] = Task(
            ref,
            traits["kind"],
            tuple(traits["labels"]),
            dict(traits["shifts"]),
            traits["rule"],
            tuple(traits["groups"]),
            datasets.DatasetDict(data),
            traits.get("image_shape"),
            traits.get("template"),
        )
    return _loaded[folder]
