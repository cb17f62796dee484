"""The sentiment task: sizes, labels, groups and what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kit.tasks.prepared import describe
from kit.tasks.sentiment import FILES, length_band, read_domain
from kit.tasks.task import Task


def test_sizes(sentiment: Task) -> None:
    sizes = describe("sentiment")["sizes"]
    assert sizes["train"] >= 7000 and sizes["validation"] >= 700 and sizes["test"] >= 1000
    for shift in ("amazon", "tweets", "nyt"):
        assert sizes[shift] >= 2000 and sizes[f"{shift}/validation"] >= 700
    assert sentiment.shifts == {"amazon": "near", "tweets": "far", "nyt": "far"}


def test_label_is_the_sign_of_a_valence_that_is_not_neutral(sentiment: Task) -> None:
    for rows in sentiment.data.values():
        valence, label = np.array(rows["valence"]), np.array(rows["label"])
        assert (np.abs(valence) >= 0.5).all() and (np.abs(valence) <= 4).all()
        assert ((valence > 0) == (label == 1)).all()


def test_classes_are_balanced_in_distribution_and_known_elsewhere(sentiment: Task) -> None:
    share = {name: np.mean(rows["label"][:]) for name, rows in sentiment.data.items()}
    for name in ("train", "validation", "test"):
        assert 0.45 < share[name] < 0.55
    shifted = [share[name] for name in ("nyt", "amazon", "tweets")]
    assert shifted == pytest.approx([0.40, 0.58, 0.69], abs=0.03)


def test_groups(sentiment: Task) -> None:
    for name, rows in sentiment.data.items():
        domain = name.split("/")[0]
        expected = {domain} if domain in FILES else {"movie"}
        assert set(rows["domain"]) == expected
        assert set(rows["length"]) == {"short", "medium", "long"}
        assert set(rows["negation"]) == {"no", "yes"}


def test_clusters_are_documents(sentiment: Task) -> None:
    for name in ("amazon", "nyt"):
        clusters = sentiment.data[name]["cluster"][:]
        assert len(set(clusters)) < len(clusters) / 4
    for name in ("train", "tweets"):
        assert sentiment.data[name]["cluster"][:] == sentiment.data[name]["id"][:]


def test_every_line_is_in_a_split_or_counted(sentiment: Task) -> None:
    about = describe("sentiment")
    lines = {"movie": 10_605, "amazon": 3_708, "tweets": 4_200, "nyt": 5_190}
    parts = {"movie": ("train", "validation", "test")}
    for domain, total in lines.items():
        counts = about["dropped"][domain]
        lost = sum(number for reason, number in counts.items() if reason != "replaced_characters")
        names = parts.get(domain, (domain, f"{domain}/validation"))
        assert lost + sum(about["sizes"][name] for name in names) == total
        assert counts["replaced_characters"] == 0


def test_entities_are_unescaped(sentiment: Task) -> None:
    for rows in sentiment.data.values():
        assert not any("&amp;" in text or "&lt;" in text for text in rows["text"])


@pytest.mark.parametrize(
    ("words", "band"), [(1, "short"), (11, "short"), (12, "medium"), (20, "medium"), (21, "long")]
)
def test_length_bands(words: int, band: str) -> None:
    assert length_band("word " * words) == band


@pytest.mark.parametrize(
    ("text", "negation"),
    [
        ("it is not good", "yes"),
        ("Don't bother", "yes"),
        ("it won\u2019t last", "yes"),
        ("i dont like it", "yes"),
        ("NEVER again", "yes"),
        ("a notable knot of nodes", "no"),
        ("I want it", "no"),
    ],
)
def test_negation(tmp_path: Path, text: str, negation: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(f"1\t2.0\t{text}\n", encoding="utf-8")
    frame, _ = read_domain(path, "movie")
    assert frame["negation"].tolist() == [negation]


def test_a_file_that_is_not_utf8_or_has_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"1_1\t-2.5\tcaf\xe9 &lt;3\r\n1_2\tbroken\r\n1_3\t0.2\tneutral\r\n\r\n")
    frame, dropped = read_domain(path, "nyt")
    assert dropped == {"malformed": 1, "neutral": 1, "replaced_characters": 1}
    assert frame[["text", "label", "cluster"]].to_numpy().tolist() == [["caf\ufffd <3", 0, "nyt/1"]]
