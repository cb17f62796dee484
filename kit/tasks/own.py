"""Your own data as a task: from a frame, or from texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kit import registry
from kit.spec import Ref, SpecError, content_hash
from kit.tasks.prepare import Prepared, clean, prepare, split_names
from kit.tasks.task import check, fingerprint, finished

if TYPE_CHECKING:
    import pandas as pd

RESERVED = ("id", "text", "cluster", "label", "valence")
RULE = "Near and far were told apart by who registered the data."


def task_from_frame(
    name: str,
    frame: pd.DataFrame,
    *,
    text: str = "text",
    label: str = "label",
    groups: Sequence[str] = (),
    cluster: str | None = None,
    shifts: Mapping[str, pd.DataFrame] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.1,
    test: float = 0.3,
    labels: Sequence[Any] | None = None,
) -> Ref:
    """Registers labelled texts as a classification task.

    Rows of empty text or without a label are left out, exact and near duplicates too (the first
    source keeps the copy); `kit.tasks.describe(ref)["dropped"]` counts them. Text is cut by no
    length; bytes are read as UTF-8 and what is not UTF-8 is replaced and counted. Running the call
    again replaces the task; other data give it another version.

    Args:
        name: of the task, for tables.
        frame: a row a text.
        text: its column of texts.
        label: its column of labels: booleans, whole numbers or strings.
        groups: columns whose slices are reported.
        cluster: column of what texts have in common (an author, a document); texts of one cluster
            fall on one side of a split and are resampled together.
        shifts: name -> frame with the same columns, from another time, place or source.
        far: which of the shifts are far; the others are near.
        validation, test: shares of the texts (of the clusters, where given).
        labels: the labels in the order of the model's outputs; sorted where not given.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: a column that is not there, labels that are no classes or not among `labels`, a
            split that is empty or holds one class.
    """
    frames = {name: frame, **(shifts or {})}
    far = (far,) if isinstance(far, str) else tuple(far)
    _check_names(name, shifts or {}, far)
    groups = (groups,) if isinstance(groups, str) else tuple(groups)
    reserved = [group for group in groups if group in RESERVED]
    if reserved:
        raise SpecError(f"task {name}: a group column may not be called {reserved[0]!r}; rename it")
    columns = {"text": text, "label": label, **({"cluster": cluster} if cluster else {})}
    where = {source: f"task {name}, frame {source!r}" for source in frames}
    chosen = {key: _columns(where[key], rows, columns, groups) for key, rows in frames.items()}
    order = _order(name, chosen[name]["label"].tolist(), labels)
    numbered = {key: _numbered(where[key], rows, order) for key, rows in chosen.items()}
    lost = {key: {"without_label": len(chosen[key]) - len(numbered[key])} for key in chosen}
    prepared = prepare(numbered, validation=validation, test=test, dropped=lost)
    shown = tuple(str(key[1]) for key in order)
    return _registered(name, prepared, far, kind="classification", labels=shown, groups=groups)


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
        SpecError: one text where a list was expected, or a split that is empty.
    """
    import pandas as pd

    far = (far,) if isinstance(far, str) else tuple(far)
    _check_names(name, shifts or {}, far)
    sources = {}
    for source, given in {name: texts, **(shifts or {})}.items():
        if isinstance(given, str | bytes):
            raise SpecError(f"task {name}: {source!r} is one text; give a list of documents")
        sources[source] = pd.DataFrame({"text": pd.Series(list(given), dtype=object)})
    prepared = prepare(sources, validation=validation, test=test)
    return _registered(name, prepared, far, kind="language", labels=(), groups=())


def _registered(
    name: str,
    prepared: Prepared,
    far: Sequence[str],
    *,
    kind: Literal["classification", "language"],
    labels: tuple[str, ...],
    groups: tuple[str, ...],
) -> Ref:
    """Registers data that are ready; they go to workers by value, inside the function."""
    shifts = {
        source: "far" if source in far else "near" for source in prepared.dropped if source != name
    }
    traits: dict[str, Any] = {"kind": kind, "labels": labels, "shifts": shifts, "groups": groups}
    frames = {split: finished(prepared.splits[split]) for split in split_names(shifts)}
    check(name, frames, traits)
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
    )
    return registry.tasks.canonical(name)


def _check_names(name: str, shifts: Mapping[str, Any], far: Sequence[str]) -> None:
    """Refuses names of shifts that would be confused with the splits of the task itself."""
    taken = {name, "train", "validation", "test"}
    for shift in shifts:
        if shift in taken or "/" in shift or not shift:
            raise SpecError(
                f"task {name}: a shift may not be called {shift!r}; "
                f"expected a name without '/', other than {sorted(taken)}"
            )
    for shift in far:
        if shift not in shifts:
            raise SpecError(f"far: {registry.suggest(shift, shifts, f'shift of task {name}')}")


def _numbered(
    where: str, rows: pd.DataFrame, order: Mapping[tuple[bool, bool | int | str], int]
) -> pd.DataFrame:
    """Returns the rows that have a label, with its place in `order` instead of it."""
    import numpy as np

    given = [_plain(value) for value in rows["label"].tolist()]
    places = []
    for value in given:
        if value is not None and _key(value) not in order:
            shown = {str(key[1]): place for key, place in order.items()}
            raise SpecError(
                f"{where}: label {value!r} is none of {shown}; give `labels=` with all of them"
            )
        places.append(-1 if value is None else order[_key(value)])
    numbers = np.array(places, dtype=np.int64)
    return rows.assign(label=numbers)[numbers >= 0]


def _columns(
    where: str, frame: pd.DataFrame, columns: Mapping[str, str], groups: Sequence[str]
) -> pd.DataFrame:
    """Returns the columns a task needs under the names it gives them."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise SpecError(f"{where} is a {type(frame).__name__}; expected a pandas DataFrame")
    for column in (*columns.values(), *groups):
        if column not in frame:
            known = [str(known) for known in frame.columns]
            raise SpecError(f"{where}: {registry.suggest(str(column), known, 'column')}")
    chosen: dict[str, Any] = {new: frame[old].astype(object) for new, old in columns.items()}
    # a value that is missing has a slice of its own, called nan
    chosen |= {group: [clean(value)[0] or "nan" for value in frame[group]] for group in groups}
    return pd.DataFrame(chosen, index=frame.index).reset_index(drop=True)


def _plain(value: Any) -> bool | int | str | None:
    """Returns a label as a boolean, a whole number or a string; None where it is missing."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool | int | str):
        return value
    raise SpecError(
        f"label {value!r} is a {type(value).__name__}; expected booleans, whole numbers or strings"
    )


def _key(value: bool | int | str) -> tuple[bool, bool | int | str]:
    """Keeps the text '1' apart from the number 1."""
    return isinstance(value, str), value


def _order(
    name: str, given: Sequence[Any], labels: Sequence[Any] | None
) -> dict[tuple[bool, bool | int | str], int]:
    """Returns the place of each label among the model's outputs."""
    wanted = given if labels is None else labels
    values = [value for value in map(_plain, wanted) if value is not None]
    found = list(dict.fromkeys(_key(value) for value in values))
    if labels is None:
        found = sorted(found, key=lambda key: (key[0], key[1]))
    elif len(found) != len(labels):
        raise SpecError(f"task {name}: labels={list(labels)!r} repeats one or leaves one out")
    if len(found) < 2:
        shown = [key[1] for key in found]
        raise SpecError(f"task {name} has the labels {shown}; a classification needs two or more")
    return {key: place for place, key in enumerate(found)}
