"""What needs no study: importing kit, its size, and large tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.common import ROOT, Figure, in_process, process, seconds

HEAVY = ("torch", "transformers", "matplotlib", "datasets")
TURNS = 7
ITEMS = 1_000_000
SPINE = ("spec", "store", "machine", "assets", "build", "measurements", "study", "analysis")
CONTENT = ("metrics", "findings")  # of the analysis: where people add files


def imports() -> Iterator[Figure]:
    """`import kit` in new processes, in turns with an interpreter that does nothing."""
    pairs = [(process("import kit")[0], process("pass")[0]) for _ in range(TURNS)]
    ours, bare = (median(side) for side in zip(*pairs, strict=True))
    text = f"{ours - bare:.3f} s ({ours:.3f} s against {bare:.3f} s of a bare interpreter)"
    yield Figure("import kit", text, "<= 0.3 s", ours - bare <= 0.3)
    code = f"import sys, kit; print([m for m in {HEAVY} if m in sys.modules])"
    found = process(code)[1]
    text = "none" if found == "[]" else found
    yield Figure("heavy modules it loads", text, "none", found == "[]")


def size() -> Iterator[Figure]:
    """Lines of the spine, docstrings included, of all, and of the longest file."""
    sizes = {
        path.relative_to(ROOT / "kit"): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "kit").rglob("*.py")
    }
    spine = sum(
        size
        for path, size in sizes.items()
        if path.parts[0] in SPINE and path.parts[1] not in CONTENT
    )
    yield Figure("lines of the spine", f"{spine:,}", "<= 7,000", spine <= 7000)
    yield Figure(
        "lines of all", f"{sum(sizes.values()):,}", "<= 15,700", sum(sizes.values()) <= 15_700
    )
    longest = max(sizes, key=sizes.__getitem__)
    text = f"{sizes[longest]} ({longest})"
    yield Figure("lines of the longest file", text, "<= 250", sizes[longest] <= 250)


def million() -> tuple[float, float, float]:
    """Returns seconds of `score` and of `compare`, and peak bytes beyond the artifacts."""
    import numpy as np

    import kit
    from kit.analysis.score import compare, score
    from kit.store.store import Artifact

    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, ITEMS)
    item = np.arange(ITEMS).astype("U7")
    artifacts = []
    for name in ("majority", "vader"):
        run = kit.Run(kit.Variant(name), kit.Quality("sentiment"))
        logits = rng.normal(size=(ITEMS, 2)) + 2 * np.eye(2)[label]
        columns = {"item": item, "cluster": item, "label": label, "logits": logits}
        artifacts.append(Artifact(run, name, "classification", columns))
    before = _status("VmRSS")
    scored = seconds(lambda: [score(artifact) for artifact in artifacts])
    compared = seconds(lambda: compare(artifacts, artifacts[0].run.variant))
    return scored, compared, _status("VmHWM") - before


def beside_a_loop() -> tuple[float, float]:
    """Returns the seconds of six metrics with intervals on 10,000 items: kit's, and a loop's.

    The loop calls scikit-learn on 50 resamples and is counted for the 1,000 that a bootstrap has.
    """
    import numpy as np
    from sklearn import metrics

    import kit
    from kit.analysis.score import score
    from kit.store.store import Artifact

    rng, n = np.random.default_rng(0), 10_000
    label = rng.integers(0, 2, n)
    logits = rng.normal(size=(n, 2)) + 2 * np.eye(2)[label]
    item = np.arange(n).astype("U7")
    run = kit.Run(kit.Variant("majority"), kit.Quality("sentiment"))
    columns = {"item": item, "cluster": item, "label": label, "logits": logits}
    artifact = Artifact(run, "loop", "classification", columns)
    names = ["accuracy", "balanced_accuracy", "macro_f1", "nll", "brier", "auroc"]

    def loop() -> None:
        shares = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        for _ in range(50):
            drawn = rng.integers(0, n, n)
            true, share = label[drawn], shares[drawn]
            said = share > 0.5
            metrics.accuracy_score(true, said)
            metrics.balanced_accuracy_score(true, said)
            metrics.f1_score(true, said, average="macro")
            metrics.log_loss(true, share)
            metrics.brier_score_loss(true, share)
            metrics.roc_auc_score(true, share)

    score(artifact, names)  # imports
    return seconds(lambda: score(artifact, names)), 20 * seconds(loop)


def _status(name: str) -> float:
    """Returns bytes by the kernel's account of this process, NaN where it keeps none."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (1024.0 * int(line.split()[1]) for line in lines if line.startswith(name)), math.nan
    )


def analysis() -> Iterator[Figure]:
    """A million predictions of two models through `score` and `compare`."""
    scored, compared, peak = in_process("benchmarks.package", "million")
    text = f"{scored:.1f} s and {compared:.1f} s"
    yield Figure(f"score and compare 2 x {ITEMS:,}", text, "<= 20 s", scored + compared <= 20)
    text = f"{peak / 2**30:.2f} GiB"
    yield Figure("peak memory beyond the artifacts", text, "<= 2 GiB", peak <= 2 * 2**30)
    ours, loop = in_process("benchmarks.package", "beside_a_loop")
    text = f"{loop / ours:,.0f} times as fast ({ours:.2f} s, {loop:.0f} s)"
    yield Figure("six metrics with intervals against a scikit-learn loop", text)
