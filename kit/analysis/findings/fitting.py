"""How many users a memory serves at once, by what one of them holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.spec.checking import SpecError
from kit.store.results import parse_condition

if TYPE_CHECKING:
    import pandas as pd

GIB = 2**30
STATE = "allocated_state_bytes"


def users_that_fit(
    table: pd.DataFrame, memory_gib: float, process_gib: float = 0.0
) -> pd.DataFrame:
    """Returns how many texts a memory holds at once, by variant and context.

    users = floor((memory - process - weights) / state of one text), where weights are the
    `weight_bytes` of `State`, and the state is what it saw a session allocate for the
    largest batch that it tried, over that batch: schemes of the cache are rows like others.
    `kit.Users` allocates so many, and one more.

    Args:
        table: of a study with `kit.State`.
        memory_gib: for model and states, in GiB.
        process_gib: what the process needs beside them: its libraries, and what a step holds.

    Returns:
        Whole numbers, a row a variant and a column a context; 0 where the weights do not fit.

    Raises:
        SpecError: the table has no weights or no states, or the memory is not above 0.
    """
    if not memory_gib > process_gib >= 0:
        raise SpecError(
            f"memory_gib={memory_gib:g} with process_gib={process_gib:g}: expected a memory above "
            "what the process needs, and neither below 0"
        )
    found = table[(table["status"] == "ok") & table["metric"].isin(["weight_bytes", STATE])]
    weights = found[found["metric"] == "weight_bytes"].groupby("variant", sort=False)["value"].max()
    states = found[found["metric"] == STATE]
    if states.empty or weights.empty:
        lacking = "states" if states.empty else "weights"
        raise SpecError(f"the table has no {lacking} (kit.State); users are counted from both")
    parts = states["condition"].map(parse_condition)
    sizes = {"context": "context", "size": "batch_size"}
    told = {column: [part[name] for part in parts] for column, name in sizes.items()}
    states = states.assign(**told).sort_values("size", kind="stable")
    last = states.groupby(["variant", "context"], sort=False).last()
    each = (last["value"] / last["size"]).unstack("context")
    each = each.reindex([name for name in weights.index if name in each.index])
    left = (memory_gib - process_gib) * GIB - weights.reindex(each.index)
    fits = each.rdiv(left, axis=0).clip(lower=0) // 1
    return fits.astype(int)
