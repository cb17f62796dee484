"""The language task: sizes, clusters and what was left out."""

from __future__ import annotations

from kit.spec.ref import Ref
from kit.tasks.language import LONG, _titled
from kit.tasks.prepared import describe
from kit.tasks.task import Task, load


def test_sizes(wikipedia: Task) -> None:
    length = {
        name: sum(len(t.encode()) for t in rows["text"]) for name, rows in wikipedia.data.items()
    }
    assert length["train"] >= 1_000_000
    assert all(size >= 40_000 for size in length.values())
    assert all(len(rows) >= 250 for rows in wikipedia.data.values())
    assert wikipedia.shifts == {"xsum": "near", "privacy": "far"}
    assert wikipedia.labels == ()


def test_passages_that_questions_share_count_once(wikipedia: Task) -> None:
    dropped = describe("wikipedia")["dropped"]
    # 15,942 rows, of which 12,271 passages are distinct with their titles
    assert dropped["wikipedia"]["exact_duplicates"] >= 15_942 - 12_271
    assert dropped["wikipedia"]["near_duplicates"] > 100
    assert dropped["xsum"]["empty"] == 1
    kept = sum(len(wikipedia.data[name]) for name in ("train", "validation", "test"))
    assert kept + sum(dropped["wikipedia"].values()) == 15_942


def test_the_title_is_the_cluster_and_not_the_text(wikipedia: Task) -> None:
    rows = wikipedia.data["train"]
    assert all(cluster.startswith("wikipedia/") for cluster in rows["cluster"])
    assert len(set(rows["cluster"])) < len(rows)
    assert _titled("Turn on red -- Rules -- and signs") == ("Turn on red", "Rules -- and signs")
    assert _titled("no title") == ("no title", "no title")


def test_cases_are_long_and_never_meant_for_training() -> None:
    cases = load(Ref("court_cases"))
    sizes = {name: len(rows) for name, rows in cases.data.items()}
    assert sizes["train"] == 0 and sizes["validation"] >= 20 and sizes["test"] >= 150
    assert min(len(text) for text in cases.data["test"]["text"]) >= 0.9 * LONG
    assert sum(len(text) for text in cases.data["test"]["text"]) > 800_000
