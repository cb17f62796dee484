"""The registries and their decorators."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest
from helpers import Cells

import kit
from kit.measurements import Latency
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.fields import check_forms
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Run, Training, Variant, uses

pytestmark = pytest.mark.usefixtures("registries")


def test_each_kind_fills_itself() -> None:
    expected = {
        "architectures": "minilm",
        "schemes": "round",
        "runtimes": "eager",
        "tasks": "sentiment",
        "measurements": "classify",
        "metrics": "accuracy",
        "corruptions": "typos",
        "artifacts": "quantities",
    }
    for kind, name in expected.items():
        assert name in registry.REGISTRIES[kind].names()
        assert registry.REGISTRIES[kind].get(name).in_kit
    assert registry.schemes.canonical("w4g32") == Ref("round", group=32)


@pytest.mark.parametrize(
    ("decorator", "traits", "sentence"),
    [
        (kit.register_architecture, {"kind": "encodr"}, "Did you mean 'encoder'?"),
        (kit.register_runtime, {"gives": "decod"}, "Did you mean 'decode'?"),
        (
            kit.register_measurement,
            {"where": "worker", "artifacts": (), "needs": ["forwards"]},
            "Did you mean 'forward'?",
        ),
        (kit.register_task, {"kind": "clasification"}, "Did you mean 'classification'?"),
        (
            kit.register_task,
            {"kind": "language", "shifts": {"news": "wide"}},
            "shifts={'news': 'wide'}: each shift is 'near' or 'far'",
        ),
        (
            kit.register_measurement,
            {"where": "driver ", "artifacts": ()},
            "Did you mean 'driver'?",
        ),
        (
            kit.register_metric,
            {"artifact": "classification", "higer_is_better": True, "unit": "1"},
            "register_metric: unknown trait 'higer_is_better'. Did you mean 'higher_is_better'?",
        ),
        (
            kit.register_metric,
            {"artifact": "clasification", "higher_is_better": True, "unit": "1"},
            "unknown kind of artifact 'clasification'. Did you mean 'classification'?",
        ),
        (
            kit.register_measurement,
            {"where": "worker", "artifacts": ("quantities",)},
            'artifacts=("quantities",) and quantities={name: kit.Quantity("bytes")} go together',
        ),
        (
            kit.register_task,
            {"kind": "language", "image_shape": (1, 8, 8)},
            "a task of kind 'language' holds no images",
        ),
        (
            kit.register_architecture,
            {"kind": "encoder", "width_multiples": 8},
            "Did you mean 'width_multiple'?",
        ),
    ],
)
def test_a_wrong_trait_is_refused(decorator: Any, traits: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        decorator(**traits)
    assert sentence in str(caught.value)


def test_a_decorator_returns_the_function_and_keeps_the_traits() -> None:
    def half(model: Any) -> Any: ...
    def graph_runtime(path: Any) -> Any: ...
    def module_runtime(model: Any) -> Any: ...
    def share(logits: Any) -> Any: ...

    scheme = kit.register_scheme(form="module", simulated=True, runtimes=["eager"])
    assert scheme(half) is half
    traits = registry.schemes.get("half").traits
    found = traits["simulated"], traits["runtimes"], traits["tolerance"]
    assert found == (True, ("eager",), 1e-3)
    kit.register_runtime(form="onnx", gives=["forward", "decode"])(graph_runtime)
    kit.register_runtime()(module_runtime)
    traits = registry.runtimes.get("graph_runtime").traits
    assert (traits["form"], traits["gives"]) == ("onnx", ("forward", "decode"))
    assert registry.runtimes.get("module_runtime").traits["gives"] == ("forward",)
    with pytest.raises(SpecError, match="takes path; of the form module the kit supplies `model`"):
        kit.register_runtime()(graph_runtime)
    metric = kit.register_metric(artifact="classification", higher_is_better=None, unit="1")
    assert metric(share) is share
    assert registry.metrics.get("share").traits["artifacts"] == ("classification",)


def test_a_metric_reads_one_other_run() -> None:
    with pytest.raises(SpecError, match="reads columns of clean and test; expected those of one"):

        @kit.register_metric(artifact="classification", higher_is_better=None, unit="1")
        def both(logits: Any, clean_logits: Any, test_logits: Any) -> Any: ...


def test_names_replace_the_metrics_of_the_kinds_that_they_read() -> None:
    wanted, kinds = registry.wanted, ["classification", "timing"]
    own = {kind: registry.artifacts.get(kind).traits["metrics"] for kind in kinds}
    assert wanted(kinds, "metrics") == (*own["classification"], *own["timing"])
    assert wanted(kinds, "metrics", ["brier"]) == ("brier", *own["timing"])
    assert wanted(kinds, "group_metrics", ["brier", "latency"]) == ("brier", "latency")
    shifted = ("accuracy", "accuracy_retained", "speedup")
    assert wanted(kinds, "shifted_metrics") == shifted
    assert wanted(kinds, "shifted_metrics", ()) == ()
    with pytest.raises(SpecError, match="Did you mean 'brier'"):
        wanted(kinds, "metrics", ["brir"])


def test_a_direction_is_known_of_metrics_and_of_what_is_counted() -> None:
    names = ("accuracy", "nll", "peak_bytes", "training_tokens", "nothing")
    assert [registry.direction(name) for name in names] == [True, False, False, None, None]


@pytest.mark.parametrize(
    ("decorator", "nearest"),
    [
        (kit.register_scheme(form="modul"), "module"),
        (kit.register_runtime(form="onxn"), "onnx"),
        (kit.register_exporter(source="onnxx", target="other"), "onnx"),
    ],
)
def test_an_unknown_form_is_refused(decorator: Any, nearest: str) -> None:
    with pytest.raises(SpecError, match=f"unknown form .* Did you mean '{nearest}'"):
        decorator(lambda path: path)


def test_schemes_stand_in_an_order_that_exporters_lead_along() -> None:
    check_forms((Ref("round", bits=4), Ref("dynamic_int8")))
    with pytest.raises(
        SpecError, match=r"dynamic_int8 \(onnx\), round \(module\); nothing makes module of onnx"
    ):
        check_forms((Ref("dynamic_int8"), Ref("round", bits=4)))
    check_forms((Ref("round", bits=4), Ref("kv_int", bits=4)))
    wrong = [("kv_int", "round"), ("dynamic_int8", "kv_int"), ("kv_int", "dynamic_int8")]
    for before, after in wrong:
        with pytest.raises(SpecError, match=rf"out of order: {before} \(.*, {after} \("):
            check_forms((Ref(before), Ref(after)))


def test_a_run_names_the_version_of_all_it_uses(toys: Ref) -> None:
    training = Training(toys, budget=Budget(epochs=1))
    base = Variant(Ref("toy_encoder"), training)
    variant = base.replace(schemes=["w4", "dynamic_int8"], runtime="onnx")
    run = Run(variant, Latency(toys, against=base))
    used = uses(run)
    assert set(used) == {
        "architectures/toy_encoder",
        "schemes/round",
        "schemes/dynamic_int8",
        "runtimes/onnx",
        "runtimes/eager",
        "measurements/latency",
        "tasks/toys",
        "exporters/to_onnx",
        "training",
    }
    assert used["tasks/toys"] == registry.tasks.get("toys").version


def test_an_edited_cell_changes_its_runs_and_no_others(cells: Cells, toys: Ref) -> None:
    cell = """
        import kit
        STEP = 2
        @kit.register_scheme(form="module")
        def mine(model, *, bits: int = 4):
            return model if STEP else None
    """
    base = Variant(Ref("toy_encoder"), Training(toys))
    cells.run(cell)
    variants = base.replace(schemes=["mine"]), base.replace(schemes=["w4"])
    ours, theirs = (Run(variant, Ref("cost")) for variant in variants)
    before = ours.id, theirs.id
    cells.restart()
    cells.run("        # after a restart" + cell)
    assert (ours.id, theirs.id) == before
    cells.run(cell.replace("return model", "return model.half()"))
    assert (ours.id != before[0], theirs.id) == (True, before[1])
    cells.run(cell)
    assert (ours.id, theirs.id) == before
    cells.run("STEP = 3")  # what the definition reads, in a cell of its own
    assert (ours.id != before[0], theirs.id) == (True, before[1])


def test_what_a_notebook_registers_goes_to_workers_by_value(cells: Cells) -> None:
    cells.run("""
        import kit
        FACTOR = 3
        @kit.register_metric(artifact="classification", higher_is_better=True, unit="1")
        def tripled(label):
            return label.mean() * FACTOR
    """)
    found = [entry for kind, entry in registry.user_entries() if kind == "metrics"]
    sent = cloudpickle.dumps(found[0])
    cells.restart()
    import numpy as np

    entry = cloudpickle.loads(sent)
    assert (entry.name, entry.function(np.array([1, 3]))) == ("tripled", 6)
    assert all(not entry.in_kit for _, entry in registry.user_entries())
