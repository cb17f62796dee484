"""What this machine's timings can tell apart, from many launches of a variant against itself.

The launches of a self-test are dealt into groups of 4 and of 8, as a user's study would have them,
and each group is judged as a study judges. How often identical sides are called different is the
rate of false alarms; how often they are called slower once their ratios are shifted by a slowdown,
the power.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from kit.analysis.metrics.timing import median_error, quiet_rounds, rounds
from kit.analysis.statistics.clusters import Array, Clusters
from kit.analysis.statistics.intervals import Bounded, Interval, robust, t_quantile, wilson
from kit.analysis.statistics.launches import second_stage
from kit.spec.checking import Undefined
from kit.spec.register_measures import register_metric

GROUPS = (4, 8)
UNTIL = 0.02
FIRST = 4
"""Launches of the first stage when the rule `until` is tried."""
PRECISIONS = (0.01, 0.02, 0.05)
PARTITIONS, HALVES, LEVEL = 500, 200, 0.05
PLANTED = (0.02, 0.05)
"""Slowdowns whose detection is asked for."""

_own = partial(register_metric, artifact="selftest", where={"phase": "call"})
Rule = Callable[[Array], tuple[Array, Array]]
"""Orders of launches [m, n] to verdicts (-1 slower, 0 same, 1 faster) and launches each used."""


def _fixed(size: int) -> Rule:
    """Returns the rule of a study with so many launches."""

    def judge(orders: Array) -> tuple[Array, Array]:
        count = orders.shape[1] // size
        groups = orders[:, : count * size].reshape(-1, size)
        verdicts = _verdicts(groups.mean(1), groups.std(1, ddof=1) / math.sqrt(size), size - 1)
        return verdicts, np.full(len(verdicts), size)

    return judge


def _sequential(until: float) -> Rule:
    """Returns Stein's rule: the first launches' spread fixes how many there are."""

    def judge(orders: Array) -> tuple[Array, Array]:
        first = orders[:, :FIRST]
        needed = [second_stage(np.exp(row), until) for row in first]
        used = np.clip(needed, FIRST, orders.shape[1])
        means = np.cumsum(orders, axis=1)[np.arange(len(orders)), used - 1] / used
        return _verdicts(means, first.std(1, ddof=1) / np.sqrt(used), FIRST - 1), used

    return judge


def _verdicts(means: Array, errors: Array, df: int) -> Array:
    return np.sign(means) * (np.abs(means) > t_quantile(0.975, df) * errors)


def _rate(logs: Array, rule: Rule, found: Callable[[Array], Array], seed: int) -> Bounded:
    """Returns how often a verdict is `found`, averaged over random partitions of the launches.

    Its error is had by resampling launches: rates of random halves, whose spread is that of the
    whole (McCarthy, "Pseudo-replication: half samples", 1969). A bootstrap would draw a launch
    twice into one group, find the group too much alike and call it different too often. The
    interval is Wilson's at the sample size which that spread implies, at least one a disjoint
    group.
    """
    rng = np.random.default_rng(seed)

    def rate(values: Array, times: int) -> tuple[float, float]:
        verdicts, used = rule(rng.permuted(np.tile(values, (times, 1)), axis=1))
        return float(found(verdicts).mean()), float(used.mean())

    n = len(logs)
    value, used = rate(logs, PARTITIONS)
    groups = n / used
    half = n // 2
    if rule(logs[None, :half])[1].size and half >= used:
        halves = [
            rate(rng.choice(logs, half, replace=False), PARTITIONS // 10) for _ in range(HALVES)
        ]
        variance = float(np.var([one for one, _ in halves]))
        if 0 < value < 1 and variance > 0:
            groups = max(groups, min(value * (1 - value) / variance, n))
    z = t_quantile(0.975, 1e9)
    centre = (value + z * z / (2 * groups)) / (1 + z * z / groups)
    spread = math.sqrt(value * (1 - value) / groups + z * z / (4 * groups * groups))
    wide = z / (1 + z * z / groups) * spread
    low = centre - wide if value > 0 else 0.0
    interval = Interval(low, centre + wide if value < 1 else 1.0, "launches")
    return Bounded(value, interval, n, _above(value, groups))


def _above(value: float, groups: float) -> float:
    """Returns the one-sided p-value of a true rate of at most 5%, exact where groups are whole."""
    from scipy.special import betainc

    found = value * groups
    return float(betainc(found, groups - found + 1, LEVEL)) if found > 0 else 1.0


def _loads(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Array]:
    """Returns the log ratios of launches by the machine's load.

    The quiet ones are what a study counts. The busy ones are those whose rounds are busy for the
    most part, with all of them: what a study would count that did not look.
    """
    table = rounds(launch, side, seconds, turn, foreign)
    found = {}
    with contextlib.suppress(Undefined):
        quiet = quiet_rounds(table).groupby("launch")["speedup"].median()
        found["machine_load=quiet"] = quiet.to_numpy()
    mostly = table.groupby("launch")["busy"].transform("mean") > 0.5
    if mostly.any():
        busy = table[mostly].groupby("launch")["speedup"].median()
        found["machine_load=busy"] = busy.to_numpy()
    return found


def _rates(
    found: Callable[[Array], Array], loads: Mapping[str, Array], planted: float = 0.0
) -> dict[str, Bounded]:
    rates = {}
    for name, ratios in loads.items():
        slower = ratios - math.log1p(planted)
        for size in GROUPS:
            if len(slower) >= size:
                rates[f"{name};launches={size}"] = _rate(slower, _fixed(size), found, size)
        if len(slower) > FIRST:
            rates[f"{name};until={UNTIL}"] = _rate(slower, _sequential(UNTIL), found, 0)
    return rates


@_own(higher_is_better=False, unit="share")
def false_alarm_rate(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """Share of comparisons of a variant with itself that call it different; 0.05 is promised.

    The p-value is of a true rate of at most 5%.
    """
    return _rates(lambda verdicts: verdicts != 0, _loads(launch, side, seconds, turn, foreign))


@_own(higher_is_better=True, unit="share")
def detection_rate(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """Share of comparisons that find the variant slower where it is, by a share `planted`.

    A slowdown shifts the log ratio of each launch of identical sides by a constant.
    """
    loads = _loads(launch, side, seconds, turn, foreign)
    return {
        f"{key};planted={planted}": rate._replace(p_value=math.nan)
        for planted in PLANTED
        for key, rate in _rates(lambda verdicts: verdicts < 0, loads, planted).items()
    }


@_own(higher_is_better=False, unit="share")
def launch_spread(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """By how much a launch's ratio to its twin differs from launch to launch (sd of the log)."""
    loads = _loads(launch, side, seconds, turn, foreign)
    return {name: _spread(ratios) for name, ratios in loads.items() if len(ratios) >= 3}


def _spread(logs: Array) -> Bounded:
    """Returns the standard deviation of logarithms with its chi-square interval."""
    from scipy.stats import chi2

    n = len(logs)
    sd = float(np.std(logs, ddof=1))
    low, high = (sd * math.sqrt((n - 1) / chi2.ppf(p, n - 1)) for p in (0.975, 0.025))
    return Bounded(sd, Interval(float(low), float(high), "launches"), n)


@_own(higher_is_better=False, unit="share")
def call_spread(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """What `launch_spread` would be if launches were alike: the part that is a launch's few rounds.

    Where it is near `launch_spread`, more seconds a launch help; where it is far below, only more
    launches do.
    """
    table = quiet_rounds(rounds(launch, side, seconds, turn, foreign))
    errors = np.array([median_error(np.asarray(x)) for _, x in table.groupby("launch")["speedup"]])
    if len(errors) < 3:
        return {}
    low, high, _, _ = robust(errors**2, Clusters.alone(len(errors)))
    bounds = Interval(math.sqrt(max(low, 0.0)), math.sqrt(high), "launches")
    value = math.sqrt(np.mean(errors**2))
    return {"machine_load=quiet": Bounded(value, bounds, len(errors))}


@_own(higher_is_better=False, unit="share")
def busy_launches(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """Share of launches that do not count, since others left them too few quiet rounds."""
    table = rounds(launch, side, seconds, turn, foreign)
    n, kept = table["launch"].nunique(), 0
    with contextlib.suppress(Undefined):
        kept = quiet_rounds(table)["launch"].nunique()
    lost = np.arange(n) >= kept
    return {"": Bounded(float(lost.mean()), wilson(lost, Clusters.alone(n)), n)}


@_own(higher_is_better=False, unit="launches")
def launches_needed(
    launch: Array, side: Array, seconds: Array, turn: Array, foreign: Array
) -> dict[str, Bounded]:
    """Launches after which the interval of a ratio reaches no further than a precision."""
    spreads = launch_spread(launch, side, seconds, turn, foreign)
    found = {}
    for name, spread in spreads.items():
        for precision in PRECISIONS:
            value, low, high = (
                float(needed(sd, precision)) for sd in (spread.value, *spread.interval[:2])
            )
            interval = Interval(low, high, "launches")
            found[f"{name};precision={precision}"] = Bounded(value, interval, spread.n)
    return found


def needed(spread: float, precision: float) -> int:
    """Returns the least n whose t interval of the mean log ratio has a half-width <= precision.

    Args:
        spread: standard deviation of the log ratio between launches.
        precision: as a share.
    """
    n = 3
    while t_quantile(0.975, n - 1) * spread / math.sqrt(n) > math.log1p(precision):
        n += 1
    return n
