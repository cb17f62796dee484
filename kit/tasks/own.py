"""Your own data as a task: from a table, or from texts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kit import registry
from kit.spec import Ref, SpecError, content_hash
from kit.tasks.prepare import Prepared, clean, missing, prepare, split_names
from kit.tasks.sources import read_table
from kit.tasks.task import check, fingerprint, finished
from kit.values import MOST_WHOLE, check_name, shown, tidy, unboxed

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    Rows: TypeAlias = pd.DataFrame | datasets.Dataset | datasets.DatasetDict | str

RESERVED = ("id", "text", "cluster", "label", "valence", "source")
RULE = "Near and far were told apart by who registered the data."


def task_from_frame(
    name: str,
    frame: Rows,
    *,
    text: str = "text",
    label: str = "label",
    groups: Sequence[str] = (),
    cluster: str | None = None,
    shifts: Mapping[str, Rows] | None = None,
    far: Sequence[str] = (),
    validation: float = 0.1,
    test: float = 0.3,
    labels: Sequence[Any] | None = None,
) -> Ref:
    """Registers labelled texts as a classification task.

    Rows of empty text or without a label are left out, exact and near duplicates too (the first
    source keeps the copy); `kit.tasks.describe(ref)["dropped"]` counts them. Text is cut by no
    length; bytes are read as UTF-8 and what is not UTF-8 is replaced and counted. Running the call
    again replaces the task; other data give it another version. Its parts, shifts and groups are
    those of any task, and so are corruptions: `kit.evaluate_shift(..., corruptions=["typos"])`.

    Args:
        name: of the task, for tables.
        frame: a row a text: a DataFrame, a `datasets.Dataset`, `"hf:org/name"` of the hub, or
            `"hf:./folder"`. The parts of a `DatasetDict` are pooled and split anew, since they may
            share texts; one that should stay apart is given as a shift.
        text: its column of texts.
        label: its column of labels: booleans, whole numbers, strings or classes.
        groups: columns whose slices are reported.
        cluster: column of what texts have in common (an author, a document); texts of one cluster
            fall on one side of a split and are resampled together.
        shifts: name -> table with the same columns, from another time, place or source.
        far: which of the shifts are far; the others are near.
        validation, test: shares of the texts (of the clusters, where given).
        labels: the labels in the order of the model's outputs; where not given, a data set's
            classes in their order, others sorted.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: a name that no table could hold, a column that is not there or there twice, a
            cell that is no text, labels that are no classes or not among `labels`, a split that is
            empty or holds one class.
    """
    check_name(name, "the name of a task")
    far, groups = _listed(name, "far", far), _listed(name, "groups", groups)
    shifts = _shifts(name, shifts, far)
    where = {source: f"task {name}, frame {source!r}" for source in (name, *shifts)}
    tables = {key: read_table(where[key], rows) for key, rows in {name: frame, **shifts}.items()}
    for group in groups:
        check_name(group, f"task {name}: a group column")
        if group in RESERVED or groups.count(group) > 1:
            why = "is there twice" if groups.count(group) > 1 else "is a name of the kit's own"
            raise SpecError(
                f"task {name}: a group column may not be called {group!r}, which {why}; rename it"
            )
    columns = {"text": text, "label": label, **({} if cluster is None else {"cluster": cluster})}
    chosen = {key: _columns(where[key], t.frame, columns, groups) for key, t in tables.items()}
    given = chosen[name]["label"].tolist()
    labels = tables[name].classes.get(label) if labels is None else _listed(name, "labels", labels)
    order = _order(name, given, labels)
    numbered = {key: _numbered(where[key], rows, order) for key, rows in chosen.items()}
    lost = {key: {"without_label": len(chosen[key]) - len(numbered[key])} for key in chosen}
    prepared = prepare(numbered, validation=validation, test=test, dropped=lost)
    names = tuple(_label_name(name, key[1]) for key in order)
    if len(set(names)) < len(names):
        raise SpecError(f"task {name}: its labels read the same in a table: {shown(names)}")
    return _registered(name, prepared, far, kind="classification", labels=names, groups=groups)


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
    far = _listed(name, "far", far)
    shifts = _shifts(name, shifts, far)
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


def _listed(name: str, argument: str, given: Any) -> tuple[Any, ...]:
    """Returns the members of a list; a single text is a list of one."""
    if isinstance(given, str) and argument != "labels":
        return (given,)
    ordered = isinstance(given, Iterable) and not isinstance(
        given, str | bytes | bytearray | Mapping | set | frozenset
    )
    if not ordered or getattr(given, "ndim", 1) != 1:
        raise SpecError(f"task {name}: {argument} is {shown(given)}; expected a list")
    return tuple(given)


def _shifts(name: str, given: Any, far: Sequence[Any]) -> dict[str, Any]:
    """Returns the shifts; their names may not be confused with the splits of the task itself."""
    if given is not None and not isinstance(given, Mapping):
        raise SpecError(f"task {name}: shifts is {shown(given)}; expected name -> data")
    shifts = dict(given or {})
    taken = {name, "train", "validation", "test"}
    for shift in shifts:
        check_name(shift, f"task {name}: the name of a shift")
        if shift in taken or "/" in shift:
            raise SpecError(
                f"task {name}: a shift may not be called {shift!r}; "
                f"expected a name without '/', other than {sorted(taken)}"
            )
    for shift in far:
        if not isinstance(shift, str) or shift not in shifts:
            raise SpecError(f"far: {registry.suggest(shift, shifts, f'shift of task {name}')}")
    return shifts


def _label_name(name: str, value: bool | int | str) -> str:
    """Returns how a label reads in a table."""
    text = tidy(str(value))
    if not text:
        raise SpecError(f"task {name}: a label is the empty text; name it, or take its rows out")
    return text


def _numbered(
    where: str, rows: pd.DataFrame, order: Mapping[tuple[bool, bool | int | str], int]
) -> pd.DataFrame:
    """Returns the rows that have a label, with its place in `order` instead of it."""
    import numpy as np

    given = [_plain(value) for value in rows["label"].tolist()]
    places = []
    for value in given:
        if value is not None and _key(value) not in order:
            known = {str(key[1]): place for key, place in order.items()}
            raise SpecError(
                f"{where}: label {shown(value)} is none of {shown(known)}; "
                "give `labels=` with all of them"
            )
        places.append(-1 if value is None else order[_key(value)])
    numbers = np.array(places, dtype=np.int64)
    return rows.assign(label=numbers)[numbers >= 0]


def _columns(
    where: str, frame: pd.DataFrame, columns: Mapping[str, str], groups: Sequence[str]
) -> pd.DataFrame:
    """Returns the columns a task needs under the names it gives them."""
    import pandas as pd

    for column in (*columns.values(), *groups):
        if not isinstance(column, Hashable) or column not in frame:
            known = [str(known) for known in frame.columns]
            raise SpecError(f"{where}: {registry.suggest(column, known, 'column')}")
        if frame[column].ndim != 1:
            raise SpecError(f"{where} has several columns called {column!r}; rename all but one")
    frame = frame.reset_index(drop=True)
    chosen: dict[str, Any] = {new: frame[old].astype(object) for new, old in columns.items()}
    try:
        for value in (*chosen["text"], *chosen.get("cluster", ())):
            clean(value)
        # a value that is missing has a slice of its own, called nan
        chosen |= {
            group: [tidy(clean(value)[0]) or "nan" for value in frame[group]] for group in groups
        }
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    return pd.DataFrame(chosen)


def _plain(value: Any) -> bool | int | str | None:
    """Returns a label as a boolean, a whole number or a string; None where it is missing."""
    value = unboxed(value)
    if missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) <= MOST_WHOLE):
        return value
    raise SpecError(
        f"label {shown(value)} is a {type(value).__name__}; expected booleans, whole numbers or "
        "strings"
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
        raise SpecError(f"task {name}: labels={shown(list(labels))} repeats one or leaves one out")
    if len(found) < 2:
        there = shown([key[1] for key in found])
        raise SpecError(f"task {name} has the labels {there}; a classification needs two or more")
    return {key: place for place, key in enumerate(found)}
