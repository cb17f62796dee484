"""Your own data as a task: from a table, or from texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kit.spec import registry
from kit.spec.checking import SpecError, check_name, suggest
from kit.spec.ref import Ref, content_hash
from kit.tasks.columns import (
    cells_of,
    chosen,
    group_columns,
    label_columns,
    listed,
    shift_tables,
    text_columns,
)
from kit.tasks.duplicates import Contradictory
from kit.tasks.labels import Columns
from kit.tasks.prepare import Prepared, prepare
from kit.tasks.sources import Table, read_table
from kit.tasks.splits import fingerprint, promised
from kit.tasks.targets import read_labels

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    Rows: TypeAlias = pd.DataFrame | datasets.Dataset | datasets.DatasetDict | str

RULE = "Near and far were told apart by who registered the data."


def task_from_frame(
    name: str,
    frame: Rows,
    *,
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] = "label",
    kind: Literal["classification", "multi_label", "regression"] | None = None,
    groups: Sequence[str] = (),
    cluster: str | None = None,
    shifts: Mapping[str, Rows] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.1,
    test: float = 0.3,
    labels: Sequence[Any] | None = None,
    no_label: Sequence[Any] | None = None,
    contradictory: Contradictory = "drop",
) -> Ref:
    """Registers labelled texts, or pairs of texts, as a task.

    Left out, and counted by `kit.tasks.describe(ref)["dropped"]`, are rows of empty text or without
    a label, exact copies and near copies with the same label (the first source keeps one), and
    texts that have several labels. Near copies whose labels differ stay, on one side of a split:
    they are what a compressed model confuses. Text is cut by no length; bytes are read as UTF-8.
    Running the call again replaces the task; other data give it another version.

    A finished model learns nothing from it: `validation=0, test=1.0` makes all rows test, and the
    training part may lack classes. What does learn from it says which classes it lacks.

    Args:
        name: of the task, for tables.
        frame: a row a text: a DataFrame, a `datasets.Dataset`, `"hf:org/name"` of the hub, or
            `"hf:./folder"`. The parts of a `DatasetDict` are pooled and split anew, since they may
            share texts; one that should stay apart is given as a shift.
        text: its column of texts; two for pairs, such as `("premise", "hypothesis")`.
        label: its column of labels: booleans, whole numbers, strings or classes; lists of these,
            for any number of labels a text (`[0, 1, 1]` with 0 or 1 for each label too); or
            several columns of 0 and 1, a label each.
        kind: `regression` for a column of numbers; the others are told by the labels.
        groups: columns whose slices are reported.
        cluster: column of what texts have in common (an author, a document): they fall on one side
            of a split and are resampled together. By default pairs that share their first text.
        shifts: name -> table with the same columns, from another time, place or source.
        far: which of the shifts are far; the others are near.
        validation, test: shares of the texts (of the clusters, where given); the rest is to train
            on.
        labels: the labels in the order of the model's outputs, with any that no row has; where not
            given, a data set's classes in their order, others sorted.
        no_label: what stands for no label, such as `(-1, "?")`; by default -1, unless `labels`
            names it, another label is negative too, or the labels are just -1 and 1.
        contradictory: what becomes of a text with several labels: `drop` leaves it out wholly,
            `first` keeps the label of its first row.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: a name that no table could hold, a column that is not there or there twice, a
            cell that is no text, labels that are no classes or not among `labels`, tags of tokens
            or spans of text, or no text to test on.
    """
    check_name(name, "the name of a task")
    far, groups = listed(name, "far", far), group_columns(name, groups)
    if not isinstance(contradictory, str) or contradictory not in ("drop", "first"):
        raise SpecError(suggest(contradictory, ("drop", "first"), "contradictory="))
    sources = {name: frame, **shift_tables(name, shifts, far)}
    where = {source: f"task {name}, frame {source!r}" for source in sources}
    tables = {source: read_table(where[source], rows) for source, rows in sources.items()}
    columns = {**text_columns(name, text), **({} if cluster is None else {"cluster": cluster})}
    rows = {key: chosen(where[key], t.frame, columns, groups) for key, t in tables.items()}
    given = _label_cells(name, label_columns(name, label), tables, where)
    labels = None if labels is None else listed(name, "labels", labels)
    no_label = None if no_label is None else listed(name, "no_label", no_label)
    made, read = read_labels(given, kind, labels, no_label)
    known = {key: _with_labels(rows[key], read.values[key]) for key in rows}
    lost = {key: {"without_label": len(rows[key]) - len(known[key])} for key in rows}
    prepared = prepare(
        known, validation=validation, test=test, dropped=lost, contradictory=contradictory
    )
    return registered(name, prepared, far, kind=made, labels=read.names, groups=groups)


def _label_cells(
    name: str, columns: tuple[Any, ...], tables: Mapping[str, Table], where: Mapping[str, str]
) -> Columns:
    cells = {key: cells_of(where[key], table.frame, columns) for key, table in tables.items()}
    return Columns(name, columns, cells, where, tables[name].classes.get(columns[0]))


def _with_labels(rows: pd.DataFrame, values: Sequence[Any]) -> pd.DataFrame:
    """Returns the rows that have a label, with it."""
    import pandas as pd

    there = [value is not None for value in values]
    kept = [value for value in values if value is not None]
    number = "float64" if kept and isinstance(kept[0], float) else "int64"
    kind = object if kept and isinstance(kept[0], list) else number
    return rows.loc[there].assign(label=pd.Series(kept, index=rows.index[there], dtype=kind))


def task_from_text(
    name: str,
    texts: Iterable[str | bytes],
    *,
    shifts: Mapping[str, Iterable[str | bytes]] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.1,
    test: float = 0.3,
) -> Ref:
    """Registers texts, one a document, as a language task.

    Args:
        name: of the task, for tables.
        texts: the documents; one long text should be cut into documents before.
        shifts: name -> documents from another time, place or source.
        far: which of the shifts are far; the others are near.
        validation: share of the documents to tune on.
        test: share of them to report on.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: a name that no table could hold, something else than a list of texts, or a split
            that is empty.
    """
    import pandas as pd

    check_name(name, "the name of a task")
    far = listed(name, "far", far)
    shifts = shift_tables(name, shifts, far)
    sources = {}
    for source, given in {name: texts, **shifts}.items():
        if isinstance(given, str | bytes | bytearray):
            raise SpecError(f"task {name}: {source!r} is one text; give a list of documents")
        if not isinstance(given, Iterable) or isinstance(given, Mapping | pd.DataFrame):
            raise SpecError(
                f"task {name}: {source!r} is a {type(given).__name__}; give a list of documents"
            )
        sources[source] = pd.DataFrame({"text": pd.Series(list(given), dtype=object)})
    prepared = prepare(sources, validation=validation, test=test)
    return registered(name, prepared, far, kind="language", labels=(), groups=())


def registered(
    name: str,
    prepared: Prepared,
    far: Sequence[str],
    carried: Mapping[str, Any] | None = None,
    **traits: Any,
) -> Ref:
    """Registers data that are ready; they go to workers by value, inside the function.

    Args:
        name: of the task.
        prepared: its splits.
        far: which of its shifts are far.
        carried: traits that are no content of their own: what they depend on stands in others.
        **traits: what the version is made of, beside the data.
    """
    shifts = {
        source: "far" if source in far else "near" for source in prepared.dropped if source != name
    }
    traits["shifts"] = shifts
    frames = promised(name, prepared.splits, traits)
    columns = {split: frame.to_dict("list") for split, frame in frames.items()}
    dropped = prepared.dropped

    def own() -> Prepared:
        """Your own data."""
        import pandas as pd

        return Prepared({split: pd.DataFrame(rows) for split, rows in columns.items()}, dropped)

    prints = {split: fingerprint(frame) for split, frame in frames.items()}
    registry.tasks.register(
        own,
        name=name,
        version=content_hash(prints, traits, dropped),
        owner=("frame", name),
        rule=RULE if shifts else "",
        **traits,
        **(carried or {}),
    )
    return registry.tasks.canonical(name)
