"""Made-up rows, for the drawing and writing code alone."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from kit.store import results

SPLITS = {"test": 0.84, "amazon": 0.76, "tweets": 0.63, "nyt": 0.7}
ROUNDED = {"w8": (8.1, 0.0), "w4g32": (4.5, -0.01), "w4": (4.1, -0.03), "w3": (3.1, -0.1)}
TIMED = (
    ("compiled", "fp32", 1.4, 32.0, 0.0),
    ("onnx", "fp32", 1.38, 32.0, 0.0),
    ("onnx", "dynamic_int8", 2.6, 8.2, -0.012),
    ("compiled", "torchao_int8", 1.8, 8.3, -0.004),
)


def about(variant: str, **more: Any) -> dict[str, Any]:
    given = {"architecture": "minilm", "schemes": "fp32", "runtime": "eager", "task": "sentiment"}
    return {"study": "shift", "variant": variant, "machine": 0} | given | more


def quality_rows(variant: str, drop: float = 0.0, seeds: int = 2, **more: Any) -> Iterator[Any]:
    for split, level in SPLITS.items():
        for seed in [*range(seeds), *(["all"] if seeds > 1 else [])]:
            named = about(variant, **more) | {
                "split": split,
                "seed": seed,
                "unit": "share",
                "n": 500,
            }
            value = level + drop + (0.008 * seed - 0.004 if isinstance(seed, int) else 0)
            bar = {"ci_low": value - 0.03, "ci_high": value + 0.03, "interval": "items"}
            bar = {} if seed == "all" and seeds < 3 else bar
            yield results.row(**named, metric="accuracy", value=value, **bar)
            if variant != "base":
                bar = {"ci_low": drop - 0.02, "ci_high": drop + 0.02, "interval": "items"}
                named |= {"baseline": "base", "metric": "accuracy_change", "mde": 0.024}
                yield results.row(**named, value=drop, **bar)


def cost_rows(variant: str, speed: float | None, bits: float, **more: Any) -> Iterator[Any]:
    named = about(variant, **more) | {"seed": 0}
    for batch in (1, 32) if speed else ():
        assert speed
        condition = results.condition(batch_size=batch, length="task", threads=2)
        timing = {"condition": condition, "baseline": "base", "unit": "ratio", "value": speed}
        bar = {"ci_low": speed * 0.93, "ci_high": speed * 1.06, "interval": "launches", "n": 4}
        yield results.row(**named, **timing, **bar, metric="speedup")
    yield results.row(**named, metric="weight_bytes", unit="bytes", value=22e6 * bits / 8)


def make_rows(seeds: int = 2) -> list[dict[str, Any]]:
    rows = [*quality_rows("base", seeds=seeds), *cost_rows("base", 1.0, 32)]
    for scheme, (bits, drop) in ROUNDED.items():
        rows += quality_rows(f"base {scheme}", drop, seeds, schemes=scheme)
        rows += cost_rows(f"base {scheme}", None, bits, schemes=scheme)
    for runtime, scheme, speed, bits, drop in TIMED:
        name = f"base {'' if scheme == 'fp32' else scheme + ' '}{runtime}"
        rows += quality_rows(name, drop, seeds, schemes=scheme, runtime=runtime)
        rows += cost_rows(name, speed, bits, schemes=scheme, runtime=runtime)
    rows += quality_rows("majority", -0.2, 1, architecture="majority")
    rows += quality_rows("vader", -0.1, 1, architecture="vader")
    note = "bf16 matmul runs at 0.3 GFLOP/s here against 173 in fp32"
    for split in SPLITS:
        refused = about("base bf16", schemes="bf16") | {"split": split, "seed": 0, "note": note}
        rows.append(results.row(**refused, metric="accuracy", status="undefined"))
    return rows


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return results.to_frame(make_rows())
