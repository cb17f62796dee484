"""`kit show` walks a number back to code, data and machine; what a run records of its origin."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers import toy_variant

import kit
from kit.assets import assets
from kit.build import build
from kit.build.steps import Weights
from kit.measurements import Quality
from kit.report.publish import publish, results_folder
from kit.spec import registry
from kit.spec.arguments import positional
from kit.spec.checking import SpecError
from kit.spec.ref import Ref, to_json
from kit.spec.spec import Run, Variant, uses
from kit.store import store
from kit.trust.origin import walk_back

IN_KIT = [
    (kind, name)
    for kind in ("architectures", "tasks")
    for name in registry.REGISTRIES[kind].names()
    if registry.REGISTRIES[kind].get(name).in_kit
]


@pytest.fixture
def study(
    toys: Ref, fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> kit.Study:
    """A published study of the toy encoder and a null model, in a project of its own."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    base = toy_variant(toys)
    made = kit.evaluate_shift([base, "majority"], [toys], baseline=base, name="toy")
    made.run(executor="inline", on_error="raise")
    publish("01_toy", made)
    return made


def test_a_run_is_walked_back_to_what_made_it(study: kit.Study) -> None:
    run = study.runs[0]
    found = walk_back(run.id)
    assert json.loads(json.dumps(found)) == found
    kept, stored = found[f"run {run.id}"], found[f"run {run.id} in this store"]
    assert kept["run"] == to_json(run)
    assert kept["uses"] == uses(run)
    training = kept["built"][Weights(run.variant).folder.name]
    assert training["step"] == "training"
    assert {"curve.csv", "training.json", "model.safetensors"} <= training["bytes"].keys()
    assert training["seconds"] > 0 and kept["seconds"] > 0
    assert stored["columns"]["logits"].startswith("float32 ")
    assert stored["folder"] == str(store.store_root() / "artifacts" / run.id)
    assert "commit" in found["machine"] and "cpu" in found["machine"]
    rows = found["rows"]["01_toy"].split(" and ", maxsplit=1)[0].split(", ")
    table = kit.load("01_toy", results_folder())
    assert all(run.id in table.run_id[int(number) - 1] for number in rows)


def test_a_row_is_shown_with_both_runs_of_a_pair(study: kit.Study) -> None:
    table = kit.load("01_toy", results_folder())
    paired = table.index[(table.metric == "accuracy_change") & (table.split == "test")][0]
    parts = walk_back(f"01_toy:{paired + 1}")
    assert json.loads(json.dumps(parts)) == parts
    title, row = next(iter(parts.items()))
    assert (title, row["metric"]) == (f"row {paired + 1} of 01_toy", "accuracy_change")
    ids = table.run_id[paired].split()
    assert [part for part in parts if part.startswith("run ") and "in this" not in part] == [
        f"run {one}" for one in ids
    ]


def test_a_paired_row_names_both_runs(study: kit.Study) -> None:
    ids = {
        (run.variant.name, run.measurement.args["split"]): run.id
        for run in study.runs
        if run.measurement.name == "classify"
    }
    loaded = kit.load("01_toy", results_folder())
    for table in (study.table(), loaded):
        changes = table[(table.metric == "accuracy_change") & (table.group == "")]
        rows = changes[changes.split == "later"]
        assert rows.run_id.item() == f"{ids['majority', 'later']} {ids['base', 'later']}"


def test_a_clone_without_the_store_shows_what_is_recorded(
    study: kit.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = study.runs[0]
    before = walk_back(run.id)
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "clone"))
    found = walk_back(run.id)
    (training,) = before[f"run {run.id}"]["built"].values()
    training["bytes"] = "no longer in the store"
    assert found[f"run {run.id}"] == before[f"run {run.id}"]
    assert found["machine"] == before["machine"]
    assert found[f"run {run.id} in this store"].startswith("not there: run its notebook")
    store.save_failure(run.id, "it broke", "Traceback", undefined=False)
    failed = walk_back(run.id)[f"run {run.id}: failed"]
    assert failed == {"why": "it broke", "log": "Traceback"}


def test_a_table_without_a_record_is_shown_all_the_same(study: kit.Study) -> None:
    record = results_folder() / "01_toy.runs.json"
    run_id = study.runs[0].id
    record.unlink()
    assert "01_toy.runs.json is not there" in walk_back(run_id)[f"run {run_id}"]
    assert walk_back(run_id)[f"run {run_id} in this store"]["run"] == to_json(study.runs[0])


@pytest.mark.parametrize("kind", ["close", "../../x", "", "a\0b", "x" * 10_000])
def test_an_unknown_run_gets_the_nearest(study: kit.Study, kind: str) -> None:
    run_id = study.runs[0].id
    wrong = run_id[:-1] + ("0" if run_id[-1] != "0" else "1") if kind == "close" else kind
    with pytest.raises(SpecError, match="unknown run") as found:
        walk_back(wrong)
    assert len(str(found.value)) < 500
    assert (run_id in str(found.value)) == (kind == "close")


@pytest.mark.parametrize(
    ("what", "hint"),
    [
        ("01_toy:0", "expected a number from 1 to"),
        ("01_toy:x", "expected a number from 1 to"),
        ("01_tay:1", "Did you mean '01_toy'?"),
    ],
)
def test_an_unknown_row_is_told(study: kit.Study, what: str, hint: str) -> None:
    with pytest.raises(SpecError) as found:
        walk_back(what)
    assert hint in str(found.value)


def test_the_origin_of_an_exported_graph_and_of_a_predictor(toys: Ref) -> None:
    variant = toy_variant(toys, runtime="onnx", schemes=["dynamic_int8"])
    found = build.origin(Run(variant, Quality(toys, "later")), built=True)
    made = [one["step"] for one in found["built"].values()]
    assert made == ["training", "to_onnx", "dynamic_int8"]
    assert not build.origin(Run(Variant("majority"), Quality(toys)), built=True)["built"]


def test_the_origin_names_the_assets() -> None:
    run = Run(kit.classifier("minilm", task="sentiment"), Quality("sentiment"))
    found = build.origin(run, built=False)
    card = assets.card("minilm")
    assert set(found["assets"]) == {"minilm", "sentiment"}
    assert found["assets"]["minilm"] == {"version": card.version, "sha256": card.sha256}


@pytest.mark.parametrize(("kind", "name"), IN_KIT)
def test_every_asset_that_is_read_is_declared(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    path = assets.path
    monkeypatch.setattr(assets, "path", lambda asset: read.add(asset) or path(asset))
    entry = registry.REGISTRIES[kind].get(name)
    home = sys.modules[entry.function.__module__]
    monkeypatch.setattr(home, "prepare", lambda *_, **__: None, raising=False)  # takes seconds
    given = {"vocab_size": 256, "width": 64, "feed_forward": 64}
    wanted = positional(entry.function)
    if not set(wanted) - set(given) and name != "pretrained":
        entry.function(**{key: given[key] for key in wanted})
    if entry.traits.get("tokenizer"):
        entry.traits["tokenizer"]()
    assert read == set(entry.traits.get("assets", ()))
