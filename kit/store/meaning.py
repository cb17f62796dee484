"""What the words of a row mean: its metric's direction, its split's place, its condition's shift.

What a name stands for is known where it is registered in this session.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.spec import registry
from kit.spec.checking import suggest
from kit.spec.roles import axes
from kit.store.results import COLUMNS, parse_condition, read_table
from kit.store.store import project_root

if TYPE_CHECKING:
    import pandas as pd


class Statistic(NamedTuple):
    """What is told of a metric beside its value.

    Attributes:
        form: of its rows' `metric`, where `{}` stands for the metric's name.
        higher_is_better: its direction; None: that of the metric.
    """

    form: str
    higher_is_better: bool | None


STATISTICS = {
    "change": Statistic("{}_change", None),
    "worst_group": Statistic("worst_group_{}", None),
    "group_gap": Statistic("{}_group_gap", False),
    "spread": Statistic("{}_spread", False),
    "excess_loss": Statistic("{}_excess_loss", False),
    "flips_lost": Statistic("flips_lost", False),
    "flips_gained": Statistic("flips_gained", True),
    "noise": Statistic("noise_{}", False),
}
"""Of metrics, by name; flips are of right and wrong, whichever metric tells these."""
PLACES = ("in distribution", "near", "far", "")
"""Where a split lies; empty where the task is not registered in this session."""


def join_name(metric: str, statistic: str) -> str:
    """Returns what rows of a metric's statistic are called: `accuracy_change`."""
    return STATISTICS[statistic].form.format(metric)


def split_name(name: str) -> tuple[str, str]:
    """Returns metric and statistic of rows: `("accuracy", "change")`; no statistic is empty.

    What is registered under the whole name is that metric.
    """
    if name in registry.metrics:
        return name, ""
    for statistic, (form, _) in STATISTICS.items():
        before, _, after = form.partition("{}")
        whole = name == form
        if whole or (form != before and name.startswith(before) and name.endswith(after)):
            return ("" if whole else name[len(before) : len(name) - len(after)]), statistic
    return name, ""


def is_shifted(condition: str) -> bool:
    """Says whether rows of a condition are of a shifted copy of their items (`roles.Axis`)."""
    return not axes().isdisjoint(part.partition("=")[0] for part in condition.split(";"))


def _trait(kind: str, name: str, trait: str) -> Any:
    try:
        return registry.REGISTRIES[kind].get(name).traits.get(trait)
    except ValueError:  # not registered in this session
        return None


def higher_is_better(metric: str) -> bool | None:
    """Returns the direction of rows' `metric`; None where it has none or is not registered here."""
    name, statistic = split_name(metric)
    better = STATISTICS[statistic].higher_is_better if statistic else None
    return registry.direction(name) if better is None else better


def shift(task: str, split: str) -> str | None:
    """Returns whether a split is `near` or `far`; '' in distribution, None where not known here."""
    shifts = _trait("tasks", task, "shifts")
    if split == "test" or shifts is None:
        return "" if split == "test" else None
    return str(shifts.get(split.removesuffix("/validation"), ""))


def place(task: str, split: str) -> str:
    """Returns where a split lies, one of `PLACES`."""
    known = shift(task, split)
    return "" if known is None else known or PLACES[0]


def is_simulated(schemes: str) -> bool | None:
    """Says whether one of a row's schemes is simulated; None where one is not registered here."""
    aliases = registry.schemes.aliases()
    names = [part.partition("(")[0] for part in schemes.split("+") if part != "fp32"]
    refs = [aliases[name].name if name in aliases else name for name in names]
    traits = [_trait("schemes", name, "simulated") for name in refs]
    return None if None in traits else any(traits)


def table_path(name: str, folder: Path) -> Path:
    """Returns the CSV of a table; a beginning of its name that fits one table is enough.

    Raises:
        FileNotFoundError: no such table, or several.
    """
    known = [p.stem for p in sorted(folder.glob("*.csv")) if not p.stem.endswith(".machines")]
    fits = [name] if name in known else [stem for stem in known if name and stem.startswith(name)]
    if len(fits) != 1:
        raise FileNotFoundError(f"{folder}: {suggest(name, known, 'table')}")
    return folder / f"{fits[0]}.csv"


def read_machines(table: Path) -> pd.DataFrame:
    """Returns the machines of a table, as text; the index is the rows' `machine`."""
    import pandas as pd

    path = table.with_suffix(".machines.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "machine" not in frame:
        raise ValueError(f"{path}: column 'machine' is missing")
    return frame.set_index(frame.pop("machine").astype(int))


def expand(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns rows with a column for each part of their conditions, and the columns of `load`."""
    import pandas as pd

    parts = pd.DataFrame([parse_condition(text) for text in frame.condition], index=frame.index)
    taken = (*COLUMNS, "higher_is_better", "shift", "simulated")
    parts = parts.rename(columns=lambda key: f"condition_{key}" if key in taken else key)
    frame = pd.concat([frame, parts], axis=1)
    frame["higher_is_better"] = [higher_is_better(metric) for metric in frame.metric]
    frame["shift"] = [shift(*names) for names in zip(frame.task, frame.split, strict=True)]
    frame["simulated"] = [is_simulated(schemes) for schemes in frame.schemes]
    return frame


def load(name: str, results: Path | None = None) -> pd.DataFrame:
    """Returns a published table with a column for each part of its conditions and what is known.

    Joined columns: `higher_is_better` of the metric, `shift` of the split (`near`, `far`, empty in
    distribution), `simulated` schemes; missing where a name is not registered in this session.

    Args:
        name: of the table, such as `02_sentiment`; a beginning that fits one table is enough.
        results: folder of the tables; by default `results/` of the project.

    Raises:
        FileNotFoundError: no such table.
    """
    folder = project_root() / "results" if results is None else Path(results)
    return expand(read_table(table_path(name, folder)))
