"""How many tokens a language model computed of those that its requests hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.analysis.rows import Row, named
from kit.analysis.sample import Sample
from kit.spec.register_derived import register_derived


@register_derived(unit="share", higher_is_better=False, version=1)
def computed_share(samples: Sequence[Sample]) -> Iterator[Row]:
    """Yields, of each run that scored answers, tokens computed by those that its requests hold.

    What several requests begin with is computed once. The rest is what a scorer saves that takes
    requests one by one, which computes them all; one that fills up batches computes more.

    Args:
        samples: of a study.
    """
    for sample in samples:
        scored = sample.artifact.info.get("scored", {})
        if {"computed", "asked", "way"} <= scored.keys() and scored["asked"]:
            computed, asked = scored["computed"], scored["asked"]
            yield named(
                sample.artifact.run,
                condition=sample.protocol,
                metric="computed_share",
                value=computed / asked,
                unit="share",
                run_id=sample.artifact.run_id,
                note=f"{computed:,} of {asked:,} tokens (way: {scored['way']}): no interval",
            )
