"""How long a variant takes: metrics of paired timings.

They return one value a launch, the unit of replication; a launch's ratio is the median over its
rounds, in which both sides took a turn one after the other. A round in which others used the cores
tells of them, not of the variant: only quiet ones count, and a launch needs enough of them. The
trait `where` says which records of the artifact a metric reads; each condition of those gets its
own row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kit.analysis.statistics.clusters import Array
from kit.machine.load import BUSY_SHARE, MIN_ROUNDS
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric
from kit.store.results import parse_condition

if TYPE_CHECKING:
    import pandas as pd

_variant_calls = {"phase": "call", "side": "variant"}
TIMINGS = ("timing", "decoding", "writing")
_launches = partial(register_metric, artifact=TIMINGS)
_percentile = partial(
    register_metric,
    artifact=TIMINGS,
    higher_is_better=False,
    unit="s",
    where=_variant_calls,
    no_interval="calls of all launches pooled; their shared luck allows no interval",
)


def rounds(launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array) -> pd.DataFrame:
    """Returns the rounds of one condition in which both sides took a turn.

    Args:
        launch, side, seconds, turn, foreign: of each call, as the artifact has them.

    Returns:
        Columns launch; speedup, the log of the baseline's median call over the variant's; variant,
        the variant's median call, in seconds; busy, whether others used the cores in it.
    """
    import pandas as pd

    calls = pd.DataFrame(
        {"launch": launch, "turn": turn, "side": side, "seconds": seconds, "foreign": foreign}
    )
    turns = calls.groupby(["launch", "turn", "side"])
    medians, foreign_share = turns["seconds"].median().unstack(), turns["foreign"].max().unstack()
    if not {"variant", "baseline"} <= set(medians):
        raise Undefined("no launch has calls of both sides")
    found = pd.DataFrame(
        {
            "speedup": np.log(medians["baseline"] / medians["variant"]),
            "variant": medians["variant"],
            "busy": foreign_share.max(axis=1) > BUSY_SHARE,
        }
    )
    return found.dropna().reset_index()


def quiet_rounds(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the quiet rounds of the launches that have enough of them.

    Raises:
        Undefined: no launch has.
    """
    quiet = table[~table["busy"]]
    enough = quiet.groupby("launch")["busy"].transform("size") >= MIN_ROUNDS
    if not enough.any():
        raise Undefined(
            f"others used more than {BUSY_SHARE:.0%} of the cores in {table['busy'].mean():.0%} of "
            f"the rounds, and no launch has {MIN_ROUNDS} quiet ones: on a busy machine times are "
            "not the variant's. When it is quiet, study.run(redo='busy') times it again"
        )
    return quiet[enough]


def median_error(values: Array) -> float:
    """Returns the standard error of a median, from the median absolute deviation.

    In a normal sample the spread is 1.4826 times that deviation, and the error of the median 1.2533
    times that of the mean.
    """
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return 1.2533 * spread / float(np.sqrt(len(values)))


def _by_launch(calls: tuple[Array, ...], column: str) -> Array:
    kept = quiet_rounds(rounds(*calls))
    return np.asarray(kept.groupby("launch")[column].median())


def launch_ratios(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Returns for each condition of a timing the speed-up in each launch that counts, if any."""
    calls = columns["phase"] == "call"
    names = ("launch", "side", "seconds", "turn", "foreign")
    found = {}
    for text in np.unique(columns["condition"][calls]):
        chosen = calls & (columns["condition"] == text)
        try:
            found[str(text)] = speedup(*(columns[name][chosen] for name in names))
        except Undefined:
            found[str(text)] = np.array([])
    return found


@_launches(higher_is_better=False, unit="s", where={"phase": "call"})
def latency(launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array) -> Array:
    """Median seconds of a call, by launch."""
    return _by_launch((launch, side, seconds, turn, foreign), "variant")


@_launches(higher_is_better=True, unit="items/s", where={"phase": "call"})
def throughput(
    launch: Array,
    side: Array,
    seconds: Array,
    turn: Array,
    foreign: Array,
    condition: Array,
) -> Array:
    """Items a second at the median call, by launch."""
    size = parse_condition(str(condition[0])).get("batch_size")
    if size is None:
        raise Undefined("the condition has no batch_size")
    return np.asarray(size / latency(launch, side, seconds, turn, foreign))


@_launches(higher_is_better=True, unit="ratio", where={"phase": "call"})
def speedup(launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array) -> Array:
    """The baseline's time over the variant's in the same launch; above 1 is faster."""
    return np.exp(_by_launch((launch, side, seconds, turn, foreign), "speedup"))


_starts = partial(register_metric, artifact="timing")  # of a process, whatever else it is timed for
_start = {"condition": ""}  # what a launch recorded of its start belongs to no condition


def _sums(launch: Array, seconds: Array) -> Array:
    return np.array([seconds[launch == one].sum() for one in np.unique(launch)])


@_starts(higher_is_better=False, unit="s", where={**_start, "side": "variant"})
def cold_start_seconds(launch: Array, seconds: Array) -> Array:
    """Seconds from the start of a process to its first answer: what a serverless user waits for.

    Imports, loading, compiling and the first call; files are in the system's cache.
    """
    return _sums(launch, seconds)


@_starts(higher_is_better=False, unit="s", where={**_start, "side": "variant"})
def cold_start_phase_seconds(launch: Array, phase: Array, seconds: Array) -> dict[str, Array]:
    """The parts of the cold start: `import`, `load`, `compile` (where it does) and `first_call`."""
    return {
        f"phase={one}": _sums(launch[phase == one], seconds[phase == one])
        for one in np.unique(phase)
    }


@_starts(higher_is_better=True, unit="ratio", where=_start)
def cold_start_speedup(launch: Array, side: Array, seconds: Array) -> Array:
    """The baseline's cold start over the variant's in the same launch."""
    theirs, ours = side == "baseline", side == "variant"
    return _sums(launch[theirs], seconds[theirs]) / _sums(launch[ours], seconds[ours])


_load = partial(_launches, higher_is_better=None, where=_variant_calls)


def _mean(launch: Array, values: Array) -> Array:
    return np.array([values[launch == one].mean() for one in np.unique(launch)])


@_load(unit="share")
def foreign_load(launch: Array, foreign: Array) -> Array:
    """Share of all CPUs that others took during the variant's calls, stolen time included."""
    return _mean(launch, foreign)


@_load(unit="share")
def stolen_load(launch: Array, stolen: Array) -> Array:
    """Share of all CPUs that the hypervisor gave to other guests during the variant's calls."""
    return _mean(launch, stolen)


@_load(unit="1/s")
def context_switches(launch: Array, switches: Array) -> Array:
    """How often a second the variant's threads lost their CPU to another process."""
    return _mean(launch, switches)


@_starts(higher_is_better=False, unit="s", where={"phase": "first_call", "side": "variant"})
def first_call_seconds(seconds: Array) -> Array:
    """Seconds of the first call in a process, compilation and warm caches included."""
    return seconds


def samples_needed(percentile: float, confidence: float = 0.99) -> int:
    """Returns how many calls a percentile needs.

    MLPerf inference's early-stopping rule: the smallest n with P(at most one call above the
    percentile) <= 1 - confidence, so that an estimate below the true percentile is unlikely.
    """
    n = 2
    tail = 1 - percentile
    while percentile**n + n * tail * percentile ** (n - 1) > 1 - confidence:
        n += 1
    return n


def _pooled(seconds: Array, foreign: Array, percentile: float) -> float:
    needed, seconds = samples_needed(percentile), seconds[foreign <= BUSY_SHARE]
    if len(seconds) < needed:
        raise Undefined(f"{len(seconds)} quiet calls; p{100 * percentile:.0f} needs {needed}")
    return float(np.quantile(seconds, percentile))


@_percentile()
def latency_p90(seconds: Array, foreign: Array) -> float:
    """Seconds within which nine calls of ten end."""
    return _pooled(seconds, foreign, 0.9)


@_percentile()
def latency_p99(seconds: Array, foreign: Array) -> float:
    """Seconds within which 99 calls of 100 end."""
    return _pooled(seconds, foreign, 0.99)
