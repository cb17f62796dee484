"""Users that a memory serves."""

from __future__ import annotations

import pandas as pd
import pytest

import kit
from kit.spec.checking import SpecError

GIB = 2**30


def table(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    columns = ["variant", "metric", "condition", "value"]
    return pd.DataFrame(rows, columns=columns).assign(status="ok")


WHOLE = table(
    ("full", "weight_bytes", "", GIB),
    ("half", "weight_bytes", "", GIB / 2),
    ("large", "weight_bytes", "", 9 * GIB),
    *(
        (
            name,
            "allocated_state_bytes",
            f"batch_size={size};context={context}",
            size * context * one,
        )
        for name, one in (("full", GIB / 1000), ("half", GIB / 2000), ("large", GIB / 1000))
        for size in (8, 1)
        for context in (10, 300)
    ),
)


def test_what_is_left_beside_the_weights_is_shared() -> None:
    found = kit.users_that_fit(WHOLE, memory_gib=2)
    assert found.loc["full"].to_dict() == {10: 100, 300: 3}
    assert found.loc["half"].to_dict() == {10: 300, 300: 10}
    assert found.loc["large"].to_dict() == {10: 0, 300: 0}
    assert kit.users_that_fit(WHOLE, 2, process_gib=0.5).loc["full", 10] == 50


def test_the_largest_batch_counts() -> None:
    rows = WHOLE.assign(
        value=WHOLE["value"].where(~WHOLE["condition"].str.startswith("batch_size=1"), 1e12)
    )
    pd.testing.assert_frame_equal(kit.users_that_fit(rows, 2), kit.users_that_fit(WHOLE, 2))


def test_a_smaller_cache_serves_more_users() -> None:
    full = kit.Variant(kit.Ref("llama", width=64, feed_forward=64, depth=2))
    packed = full.replace(schemes=["kv_int4"])
    ask = kit.State(contexts=(512,), batch_sizes=(1,))
    study = kit.Study("users", [kit.Run(each, ask) for each in (full, packed)], full)
    found = kit.users_that_fit(study.run(executor="inline", on_error="raise"), memory_gib=0.1)
    assert found.loc[packed.name, 512] > 3 * found.loc[full.name, 512] > 0


def test_what_lacks_is_told() -> None:
    states = WHOLE["metric"] == "allocated_state_bytes"
    with pytest.raises(SpecError, match=r"no states \(kit.State\)"):
        kit.users_that_fit(WHOLE[~states], 2)
    with pytest.raises(SpecError, match=r"no weights \(kit.State\)"):
        kit.users_that_fit(WHOLE[states], 2)
    with pytest.raises(SpecError, match="memory_gib=1 with process_gib=2: expected a memory above"):
        kit.users_that_fit(WHOLE, 1, 2)
