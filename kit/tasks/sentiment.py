"""Sentiment of sentences in four domains, judged by people.

Hutto and Gilbert had 20 people rate each text from -4 (extremely negative) to 4 (extremely
positive); the archive holds the mean, the valence (VADER, ICWSM 2014).
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from kit.spec.register_measures import register_task
from kit.tasks.content import content_id
from kit.tasks.prepare import Prepared, prepare

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

FILES = {
    "movie": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
NEUTRAL = 0.5
SHORT, LONG = 11, 21
NEGATION = re.compile(
    r"\b(no|not|never|none|nobody|nothing|neither|nor|nowhere|cannot|without|hardly|\w+n['\u2019]t"
    r"|(?:do|does|did|is|are|was|were|wo|ca|could|would|should|have|has|had|ai)nt)\b",
    re.IGNORECASE,
)


@register_task(
    kind="classification",
    labels=("negative", "positive"),
    shifts={"amazon": "near", "tweets": "far", "nyt": "far"},
    groups=("length", "negation"),
    rule=(
        "Trained on movie reviews. Near: the same kind of text about another thing (reviews of "
        "products). Far: another kind of text (tweets, sentences of newspaper editorials)."
    ),
    version=1,
    assets=("sentiment",),
)
def sentiment() -> Prepared:
    """Positive or negative, on movie reviews, and shifted to Amazon reviews, tweets and editorials.

    Valence runs from -4 to 4; texts with an absolute valence below 0.5 are left out as neutral, and
    the label is the valence's sign. HTML entities are unescaped (`&lt;3` is a heart). Sentences of
    one Amazon review or one editorial share a cluster, and never lie on two sides of a split.

    Groups: `domain`; `length` in words, `short` up to 11, `medium`, `long` from 21; `negation`,
    `yes` where a word such as not, never, without or one ending in n't occurs.
    """
    from kit.assets import assets

    folder = assets.path("sentiment")
    frames, dropped = {}, {}
    for domain, name in FILES.items():
        frames[domain], dropped[domain] = read_domain(folder / name, domain)
    return prepare(frames, validation=0.08, test=0.12, shift_validation=0.25, dropped=dropped)


def read_domain(path: Path, domain: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Reads one file: lines of id, mean valence and text, separated by tabs.

    Returns:
        The texts that are not neutral, and how many lines and characters were lost and why.
    """
    import pandas as pd

    content = path.read_bytes().decode("utf-8", errors="replace")
    lines = [line.split("\t", 2) for line in content.split("\n") if line.strip()]
    fields = [line for line in lines if len(line) == 3]
    frame = pd.DataFrame(fields, columns=["item", "valence", "text"])
    frame["valence"] = frame["valence"].astype(float)
    dropped = {
        "malformed": len(lines) - len(frame),
        "neutral": int((frame["valence"].abs() < NEUTRAL).sum()),
        "replaced_characters": content.count("\ufffd"),
    }
    frame = frame[frame["valence"].abs() >= NEUTRAL]
    # some were escaped twice
    texts = [html.unescape(html.unescape(text)).strip() for text in frame["text"]]
    # ids such as 12_3 are document and sentence
    clusters = [
        f"{domain}/{item.split('_')[0]}" if "_" in item else content_id(text)
        for item, text in zip(frame["item"], texts, strict=True)
    ]
    columns = {
        "text": texts,
        "cluster": clusters,
        "label": (frame["valence"] > 0).astype("int64").to_numpy(),
        "valence": frame["valence"].to_numpy(),
        "domain": domain,
        "length": [length_band(text) for text in texts],
        "negation": ["yes" if NEGATION.search(text) else "no" for text in texts],
    }
    return pd.DataFrame(columns), dropped


def length_band(text: str) -> str:
    """Returns `short` (up to 11 words), `medium` or `long` (from 21 words)."""
    words = len(text.split())
    if words <= SHORT:
        return "short"
    return "medium" if words < LONG else "long"
