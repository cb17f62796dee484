"""Lines through splits and variants, against numpy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from kit.analysis.findings.trends import loss_with_distance, on_the_line
from kit.spec.checking import SpecError
from kit.store.results import row, to_frame

SPLITS = {"test": 0.9, "amazon": 0.8, "tweets": 0.75, "news": 0.6}
FAR = {"amazon": 0.8, "tweets": 0.9, "news": 0.99}


def rows(variants: int = 5, task: str = "toys") -> list[dict]:
    made = []
    for number in range(variants):
        given = {"variant": f"v{number}", "architecture": "net", "seed": 0, "task": task}
        for split, start in SPLITS.items():
            value = norm.cdf((1.5 if split == "news" else 1) * norm.ppf(start - 0.04 * number))
            for metric, shown in (("accuracy", value), ("accuracy_change", -0.01 * number)):
                base = "v0" if metric == "accuracy_change" else ""
                fields = {"split": split, "metric": metric, "value": shown, "n": 400}
                made.append(row(**given, **fields, baseline=base))
            made.append(made[-2] | {"group": "part=a", "value": 0.1})
            made.append(made[-3] | {"condition": "corruption=typos;severity=1", "value": 0.1})
    for split, far in FAR.items():
        given = {"variant": "v0", "seed": 0, "task": task, "split": split}
        made.append(row(**given, metric="domain_auroc", value=far))
    return made


def table() -> pd.DataFrame:
    return to_frame(one | {"study": "s"} for one in rows())


def test_the_line_is_a_regression_of_probits() -> None:
    points, lines = on_the_line(table())
    assert list(lines["panel"]) == ["amazon", "tweets", "news"] and set(lines["n"]) == {5}
    for panel, part in points.groupby("panel"):
        x, y = norm.ppf(part["inside"]), norm.ppf(part["outside"])
        slope, intercept = np.polyfit(x, y, 1)
        line = lines[lines["panel"] == panel].iloc[0]
        assert (line["slope"], line["intercept"]) == pytest.approx((slope, intercept))
        assert line["r2"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
        assert part["residual"].to_numpy() == pytest.approx(y - intercept - slope * x)
    assert set(points["line"]) == {"net"} and (points["inside"] > 0.5).all()
    one = on_the_line(table(), ["news"])
    assert set(one.points["panel"]) == {"news"} and len(one.points) == 5
    with pytest.raises(SpecError, match="Did you mean 'news'"):
        on_the_line(table(), ["nwes"])


def test_two_tasks_are_two_panels() -> None:
    both = to_frame(one | {"study": "s"} for task in ("toys", "books") for one in rows(3, task))
    panels = on_the_line(both, ["news"]).lines["panel"]
    assert sorted(panels) == ["books: news", "toys: news"]


def test_all_right_has_a_probit() -> None:
    frame = table()
    frame.loc[(frame["split"] == "test") & (frame["metric"] == "accuracy"), "value"] = 1.0
    points, lines = on_the_line(frame, ["news"])
    assert points["x"].to_numpy() == pytest.approx(norm.ppf(1 - 0.5 / 400))
    assert lines["slope"].isna().all()  # all at one place


def test_loss_against_distance() -> None:
    points, lines = loss_with_distance(table(), "accuracy")
    first = points[points["variant"] == "v0"].set_index("split")
    assert first["x"].to_dict() == {"test": 0.5, **FAR}
    slope, intercept = np.polyfit(first["x"], first["y"], 1)
    line = lines[lines["variant"] == "v0"].iloc[0]
    assert (line["slope"], line["intercept"], line["n"]) == pytest.approx((slope, intercept, 4))
    assert len(lines) == 5 and (lines["slope"] < 0).all()
    change = loss_with_distance(table())
    assert change.lines["slope"].to_numpy() == pytest.approx(0, abs=1e-9)
    without = table()[lambda frame: frame["metric"] != "domain_auroc"]
    with pytest.raises(SpecError, match="domain_auroc"):
        loss_with_distance(without)
