"""Tasks of lm-evaluation-harness in the kit's scorer: its own numbers, of its own model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import restored
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval_tasks import save_llama, write_task, write_tasks

import kit
from kit import tasks
from kit.measurements import Quality, ScoreLmEval
from kit.measurements.interface import Bench
from kit.measurements.lm_eval import KitLM
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant

pytestmark = pytest.mark.filterwarnings("ignore:::datasets", "ignore:::sacrebleu")
POOLED = {"mcc", "chrf"}
"""Measures that are no mean, ratio or exponential of what items add."""
HELPERS = """
def shouted(doc):
    return _loud(doc["text"])

def _loud(text):
    return text + " w1"

def told(doc, results):
    return {"length": len(doc["text"]), "spread": results[0][0]}

def spread(items):
    return max(items) - min(items)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    return kit.Variant(f"hf:{save_llama(tmp_path_factory.mktemp('llama'))}", name="base")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def refs(files: dict[str, Path]) -> Iterator[dict[str, Ref]]:
    with restored():
        yield {output: tasks.lm_eval(path) for output, path in files.items()}


@pytest.fixture(scope="module")
def table(base: Variant, refs: dict[str, Ref]) -> pd.DataFrame:
    """The study of a variant and its compressed one, made in worker processes."""
    small = base.replace(schemes=["w4g32"], name="small")
    study = kit.evaluate_shift(
        [base, small], tasks=[*refs.values()], baseline=base, noise_floor=False, limit=1000
    )
    return study.run(on_error="raise")


def evaluated(model: Any, files: dict[str, Path]) -> dict[tuple[str, str, str], float]:
    """Returns that library's own numbers, by task, filter and metric."""
    found = simple_evaluate(
        model=model,
        tasks=[str(path) for path in files.values()],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        log_samples=False,
    )
    return {
        (f"lm_eval:{task}", *reversed(key.split(","))): value
        for task, numbers in found["results"].items()
        for key, value in numbers.items()
        if "," in key and "_stderr" not in key
    }


def own_rows(table: pd.DataFrame, variant: str = "base") -> dict[tuple[str, str, str], Any]:
    """Returns the rows of that library's numbers, by task, filter and metric."""
    chosen = table[
        (table.variant == variant) & table.metric.isin(["lm_eval_score", "lm_eval_loss"])
    ]
    rows = {}
    for row in chosen.itertuples():
        parts = dict(part.split("=") for part in row.condition.split(";"))
        rows[row.task, parts.get("filter", "none"), parts["measure"]] = row
    return rows


def test_each_number_of_the_library_is_a_row(
    table: pd.DataFrame, base: Variant, files: dict[str, Path]
) -> None:
    rows, expected = own_rows(table), evaluated(KitLM(base), files)
    assert rows.keys() == expected.keys() and len(rows) == 14
    for key, value in expected.items():
        assert rows[key].value == pytest.approx(value, rel=2e-6), key  # a table has six digits


def test_they_are_those_of_the_librarys_own_model(
    table: pd.DataFrame, base: Variant, files: dict[str, Path]
) -> None:
    folder = base.architecture.args["source"]
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4)
    for key, value in evaluated(theirs, files).items():
        assert own_rows(table)[key].value == pytest.approx(value, rel=1e-4), key


@pytest.mark.parametrize("output", ["multiple_choice", "loglikelihood", "loglikelihood_rolling"])
def test_what_the_items_add_makes_the_librarys_number(
    output: str, base: Variant, files: dict[str, Path], refs: dict[str, Ref]
) -> None:
    from kit.analysis.evaluate import evaluate
    from kit.analysis.sample import Sample
    from kit.spec.registry import metrics
    from kit.store.store import Artifact

    run = Run(base, ScoreLmEval(refs[output], limit=1000))
    raw = Bench().measure(run)
    sample = Sample(Artifact(run, "x", raw.kind, raw.columns))
    expected = evaluated(KitLM(base), {output: files[output]})
    seen = 0
    for name in ("lm_eval_score", "lm_eval_loss"):
        for one in evaluate(metrics.get(name), sample):
            measure = one.key.rpartition("=")[2]
            assert one.value == pytest.approx(
                expected[refs[output].name, "none", measure], rel=1e-12, abs=1e-12
            )
            seen += 1
    assert seen == len(expected)


def test_means_and_ratios_are_paired_and_have_intervals_others_the_reason(
    table: pd.DataFrame,
) -> None:
    for (_, _, measure), row in own_rows(table).items():
        pooled = measure in POOLED
        assert np.isnan(row.ci_low) == np.isnan(row.ci_high) == pooled
        assert ("pools its items" in row.note) == pooled
    changes = table[table.metric.isin(["lm_eval_score_change", "lm_eval_loss_change"])]
    assert len(changes) == 14
    pooled = changes.condition.str.contains("|".join(POOLED))
    assert (changes.status == np.where(pooled, "undefined", "ok")).all()
    ours, theirs = own_rows(table, "small"), own_rows(table)
    for row in changes[~pooled].itertuples():
        parts = dict(part.split("=") for part in row.condition.split(";"))
        key = row.task, parts.get("filter", "none"), parts["measure"]
        assert row.value == pytest.approx(ours[key].value - theirs[key].value, abs=2e-3)
        assert row.ci_low <= row.value <= row.ci_high


def test_answers_on_offer_have_the_kits_own_metrics_too(table: pd.DataFrame) -> None:
    quiz = table[(table.task == "lm_eval:tiny_quiz") & (table.variant == "small")]
    ours = quiz.set_index("metric")[quiz.condition.eq("shots=1").to_numpy()]
    theirs = own_rows(table, "small")
    for metric, measure in (("acc", "acc"), ("acc_norm", "acc_bytes"),
                            ("acc_mutual_info", "acc_mutual_info")):  # fmt: skip
        row = theirs["lm_eval:tiny_quiz", "none", measure]
        assert (ours.value[metric], ours.ci_low[metric]) == (row.value, row.ci_low)
    assert ours.value["chance"] == pytest.approx(1 / 3, rel=1e-5)
    change = ours.value["flips_gained"] - ours.value["flips_lost"]
    assert change / ours.n["acc"] == pytest.approx(ours.value["acc_change"], rel=1e-5)
    assert {"choice_margin", "choice_margin_change", "acc_change"} <= {*ours.index}
    assert (ours.n["acc"], ours.interval["acc"]) == (40, "clusters")  # one stands there twice


def test_a_limit_takes_the_first_by_content(base: Variant, refs: dict[str, Ref]) -> None:
    quiz = refs["multiple_choice"]
    whole, some = (Bench().measure(Run(base, Quality(quiz, limit=n))) for n in (40, 7))
    assert list(some.columns["item"]) == list(whole.columns["item"][:7])
    assert sorted(whole.columns["item"]) == list(whole.columns["item"])
    for name in ("loglikelihood", "label", "score", "tokens", "bytes", "greedy"):
        np.testing.assert_allclose(some.columns[name], whole.columns[name][:7], atol=1e-3)


def test_functions_of_a_yaml_file_run_in_workers(
    tmp_path: Path, base: Variant, registries: None
) -> None:
    (tmp_path / "helpers_of_it.py").write_text(HELPERS, encoding="utf-8")
    path = write_task(
        tmp_path, "loud", [{"text": f"w{k} w{k * k % 7}"} for k in range(6)],
        output_type="loglikelihood", doc_to_text="TEXT", doc_to_target=" w3",
        process_results="TOLD",
        metric_list=[
            {"metric": "length", "aggregation": "mean", "higher_is_better": True},
            {"metric": "spread", "aggregation": "SPREAD", "higher_is_better": True},
        ],
    )  # fmt: skip
    text = path.read_text(encoding="utf-8")
    for mark, name in (("TEXT", "shouted"), ("TOLD", "told"), ("SPREAD", "spread")):
        text = text.replace(mark, f"!function helpers_of_it.{name}")
    path.write_text(text, encoding="utf-8")
    ref = tasks.lm_eval(path)
    assert all(each.endswith(" w1") for each in tasks.load(ref).data["test"]["text"])
    study = kit.evaluate_shift([base], tasks=[ref], baseline=base, noise_floor=False)
    rows = own_rows(study.run(on_error="raise"))
    assert rows[ref.name, "none", "length"].value == 5.0
    assert rows[ref.name, "none", "spread"].value > 0
    assert "pools its items" in rows[ref.name, "none", "spread"].note


def test_only_language_models_are_asked(refs: dict[str, Ref]) -> None:
    ref = refs["loglikelihood"]
    with pytest.raises(SpecError, match="majority was given the task"):
        Bench().measure(Run(Variant(Ref("majority")), Quality(ref)))
    with pytest.raises(SpecError, match="is a task of classification; expected lm_eval or"):
        ScoreLmEval("sentiment")
    study = kit.evaluate_shift(
        ["majority"], tasks=[ref], baseline="majority", corruptions=["typos"], noise_floor=False
    )
    assert study.left_out == {f"typos of {ref.name}": f"{ref.name} has prompts of its own"}
