"""The three harnesses: what runs, what is left out and why."""

from __future__ import annotations

import pytest
from helpers import toy_task, toy_texts, toy_variant

import kit
from kit.analysis.findings.noise_floor import repeats
from kit.spec import roles
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.roles import compared
from kit.spec.spec import Variant

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")


def test_a_shift_study_has_every_split_and_null_models_untimed(toys: Ref) -> None:
    base = toy_variant(toys)
    latency = kit.Latency(toys)
    study = kit.evaluate_shift(
        [base, "majority"], tasks=[toys], baseline=base, seeds=2, measurements=[latency]
    )
    asked = {(r.variant.name, r.variant.seed, r.measurement.name) for r in study.runs}
    assert {("base", 0, "classify"), ("base", 1, "classify"), ("majority", 0, "classify")} <= asked
    assert [r.variant.name for r in study.runs if r.measurement.name == "latency"] == ["base"]
    splits = {r.measurement.args["split"] for r in study.runs if r.measurement.name == "classify"}
    assert splits == {"test", "later", "validation", "later/validation"}
    usual = {"batch_size": 32, "threads": 1, "padding": "batch"}
    settings = [
        {name: run.measurement.args.get(name, normal) for name, normal in usual.items()}
        for run in study.runs
        if run.measurement.name == "classify" and run.variant.name == "base"
    ]
    repeats = [each for each in settings if each != usual]
    assert repeats == [usual | how for how in roles.repeats(kit.Quality(toys), "text")]
    assert not [r for r in study.runs if r.variant.name == "majority" and _batch(r) == 1]
    with pytest.raises(SpecError, match="baseline 'base w4' is not among the variants"):
        kit.evaluate_shift([base], tasks=[toys], baseline=base.replace(schemes=["w4"]))


def test_features_are_kept_where_there_are_any_and_part_nothing_that_is_compared(toys: Ref) -> None:
    base = toy_variant(toys)
    others = [base.replace(schemes=["w4"]), base.replace(runtime="onnx")]
    for features, keeping in ((False, {"base"}), (True, {"base", "base w4"})):
        study = kit.evaluate_shift([base, *others], [toys], base, features=features)
        asked = [run.measurement for run in study.runs]
        assert {r.variant.name for r in study.runs if r.measurement.args["features"]} == keeping
        assert len({compared(ask) for ask in asked}) < len(set(asked))


def _batch(run: kit.Run) -> int | None:
    return run.measurement.args.get("batch_size")


def test_every_variant_is_judged_again_in_the_batches_that_are_timed(toys: Ref) -> None:
    base = toy_variant(toys)
    small = base.replace(schemes=["w4"])
    for study, sizes in (
        (kit.evaluate_shift([base, small], [toys], base, validation=False), {1}),
        (
            kit.evaluate_shift(
                [base, small], [toys], base, measurements=[kit.Latency(toys, batch_sizes=(4, 32))]
            ),
            {1, 4},
        ),
        (kit.sweep_quantization(base, [toys], ["w4"], latency={"batch_sizes": (2, 4)}), {2, 4}),
        (kit.sweep_quantization(base, [toys], ["w4"], latency=None), set()),
        (kit.evaluate_shift([base, small], [toys], base, splits=["later"]), {1}),
        (kit.evaluate_shift([base, small], [toys], base, noise_floor=False), set()),
    ):
        again = repeats(study.runs)
        found = {_batch(run) for run in again if run.variant == small}
        assert found == sizes
        asked = [run.measurement.args["split"] for run in study.runs if _batch(run)]
        assert {main.measurement.args["split"] for main in again.values()} <= {asked[0]}
        assert {_batch(main) for main in again.values()} <= {32}


def test_splits_are_those_that_a_task_has(toys: Ref) -> None:
    base = toy_variant(toys)
    with pytest.raises(SpecError, match="unknown split 'latr'. Did you mean 'later'?"):
        kit.evaluate_shift([base], [toys], base, splits=["latr"])
    with pytest.raises(SpecError, match="unknown split '2025'"):
        kit.sweep_quantization(base, [toys], splits=["test", "2025"])
    rule, prose = Variant(Ref("toy_rule")), toy_texts()
    study = kit.evaluate_shift([rule], [toys, prose], rule, splits=["later"], validation=False)
    asked = {(r.measurement.args["task"].name, r.measurement.args["split"]) for r in study.runs}
    assert ("toys", "later") in asked and (prose.name, "later") not in asked


@pytest.mark.usefixtures("registries")
def test_a_study_has_the_metrics_that_it_is_asked_for(toys: Ref) -> None:
    base, rule = toy_variant(toys), Variant(Ref("toy_rule"))
    study = kit.evaluate_shift(
        [base, rule],
        [toys],
        base,
        corruptions=["typos"],
        severities=(3,),
        noise_floor=False,
        metrics=["macro_f1", "accuracy"],
        group_metrics=["accuracy"],
        shifted_metrics=["brier"],
    )
    rows = study.run(executor="inline", on_error="raise")
    rows = rows[(rows.metric != "domain_auroc") & (rows.baseline == "")]
    aside = rows.split.str.endswith("validation") | (rows.condition != "")
    assert set(rows[aside].metric) == {"brier"}
    whole = rows[~aside & (rows.group == "")]
    assert set(whole.metric) == {"macro_f1", "accuracy"}
    assert set(rows[rows.group != ""].metric) <= {
        *("accuracy", "worst_group_accuracy", "accuracy_group_gap")
    }
    more = study.run(metrics=["aurc"])
    assert {"aurc", "aurc_change"} <= set(more[more.split == "test"].metric)
    assert "aurc" in set(more[more.condition.str.contains("typos")].metric)
    with pytest.raises(SpecError, match="Did you mean 'brier'"):
        kit.sweep_quantization(base, [toys], metrics=["brir"])
    counted = kit.Study("counted", [kit.Run(base, kit.Cost())], base)
    assert counted.metrics == ()
    assert "parameters" in set(counted.run(executor="inline").metric)


@pytest.mark.usefixtures("registries")
def test_splits_that_hold_nothing_are_not_asked_for(toys: Ref) -> None:
    whole = toy_task("whole", validation=0, test=1.0)
    rule = Variant(Ref("toy_rule"))
    study = kit.evaluate_shift([rule], [whole], rule, noise_floor=False)
    assert {run.measurement.args["split"] for run in study.runs} == {"test", "later"}
    rows = study.run(executor="inline", on_error="raise")
    assert set(rows[rows.metric == "accuracy"].status) == {"ok"}
    with pytest.raises(SpecError, match="unknown split 'validation'. There are: later, test"):
        kit.evaluate_shift([rule], [whole], rule, splits=["validation"])


def test_a_shift_study_of_a_language_model(toys: Ref) -> None:
    """Repeats of its runs are no rows of their own."""
    prose, base = toy_texts(), Variant(Ref("toy_causal"), name="base")
    study = kit.evaluate_shift(
        [base, base.replace(schemes=["w4"])],
        tasks=[prose],
        baseline=base,
        corruptions=["typos"],
        severities=(3,),
        limit=4,
    )
    table = kit.expand(study.run(executor="inline", on_error="raise"))
    assert (table.status == "ok").all()
    floor = table[table.metric == "noise_bits_per_byte"]
    assert sorted(floor[floor.variant == "base"].varied) == [
        *("batch_size", "batch_size", "padding", "threads")
    ]
    assert list(floor[floor.variant == "base w4"].condition) == [
        "batch_size=1;context=256;max_bytes=1024;stride=128;varied=batch_size"
    ]
    assert (floor.value.abs() < 1e-4).all()
    changed = table[table.metric == "bits_per_byte_change"]
    assert set(changed.split) == {"test", "validation"} and "typos" in set(changed.corruption)


def test_a_sweep_leaves_out_what_cannot_work_and_says_why(toys: Ref) -> None:
    base = toy_variant(toys)
    study = kit.sweep_quantization(base, tasks=[toys], schemes=["w4", "dynamic_int8"])
    names = {variant.name for variant in study.variants()}
    assert names == {"base", "base onnx", "base w4", "base dynamic_int8 onnx"}
    assert "simulated" in study.left_out["base w4 onnx"]
    assert "gives onnx, which eager does not run" in study.left_out["base dynamic_int8"]
    timed = {r.variant.name for r in study.runs if r.measurement.name == "latency"}
    assert timed == names - {"base w4"}
    against = {r.measurement.args.get("against") for r in study.runs} - {None}
    assert against == {base}


def test_architectures_meet_the_budget_and_short_trainings_are_warned_of() -> None:
    prose = toy_texts()
    budget = kit.Budget(parameters=60_000, tokens=4 * 64 * 20)
    study = kit.compare_architectures(
        ["llama", "lstm"], "llama", budget, [prose], seeds=2, length=64
    )
    from kit.architectures.budget import count_parameters
    from kit.architectures.model import make_model

    for variant in study.variants():
        if variant.architecture.name != "ngram":
            model = make_model(variant.architecture, None, seed=0)
            assert abs(count_parameters(model.module)[1] / 60_000 - 1) < 0.03
    plan = study.plan()
    assert plan["reason"].str.contains("only 20 optimizer steps").any()
    with pytest.raises(SpecError, match="baseline 'lfm2' is not among"):
        kit.compare_architectures(["lstm"], "lfm2", budget, [prose])
