"""Corrupted runs: seeded by item, paired with the clean run, in a study from end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import Cells, measure, toy_frame, toy_texts, toy_variant

import kit
from kit import tasks
from kit.build.runner import Runner
from kit.corruptions import SEVERITIES, corrupted, examples_of, graded
from kit.measurements import Quality
from kit.spec import registry
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant, uses

TYPOS = Ref("typos", severity=5)


def test_an_item_is_corrupted_alike_in_any_batch_and_unlike_another() -> None:
    texts = ["the same wonderful sentence about something or another"] * 4
    one, other, third, fourth = corrupted(texts, ["a", "b", "c", "a"], TYPOS)
    assert one == fourth and len({one, other, third}) == 3
    assert corrupted(texts[:1], ["c"], TYPOS) == [third]
    assert corrupted(texts[:1], ["a"], Ref("dropped_letters", severity=5)) != [one]


def test_no_corruption_is_no_content_of_a_run(toys: Ref) -> None:
    asked = registry.measurements.canonical(Quality(toys, limit=8))
    assert asked == Ref("classify", task=toys, limit=8)
    assert asked.replace(corruption=None) == asked


def test_a_corruption_and_its_version_make_another_run(toys: Ref, cells: Cells) -> None:
    cell = """
        import kit
        @kit.register_corruption(modality="text", rule="Only a mark is added.")
        def marked(text, rng, *, severity: kit.Severity):
            return text + "!" * severity
    """
    base = toy_variant(toys)
    ids = []
    for text in (cell, cell.replace('"!"', '"."')):
        cells.run(text)
        runs = [Run(base, Quality(toys, corruption=Ref("marked", severity=s))) for s in (1, 2)]
        assert uses(runs[0])["corruptions/marked"] == registry.corruptions.get("marked").version
        ids += [run.id for run in (*runs, Run(base, Quality(toys)))]
    assert len(set(ids)) == 5 and ids[2] == ids[5]
    assert ("corruptions", registry.corruptions.get("marked")) in registry.user_entries()
    assert all(check.passed for check in kit.check("marked"))


@pytest.mark.parametrize(
    ("corruption", "sentence"),
    [
        ("typoz", "unknown corruption 'typoz'. Did you mean 'typos'?"),
        (Ref("typos"), "corruption typos: severity is nothing"),
        (Ref("typos", severity=0), "severity is 0; Input should be greater than or equal to 1"),
        (Ref("typos", severity=6), "severity is 6; Input should be less than or equal to 5"),
        (Ref("typos", severity=2, rate=1), "unknown argument 'rate'"),
        (Ref("blur", severity=1), "blur corrupts images; toys holds texts"),
        (3, "expected the name of a corruption or a Ref, got 3"),
    ],
)
def test_mistakes_are_found_when_typed(toys: Ref, corruption: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        Quality(toys, corruption=corruption)
    assert sentence in str(caught.value)


def test_a_wrong_registration_is_refused() -> None:
    def plain(text: str, rng: Any) -> str: ...

    with pytest.raises(SpecError, match="Did you mean 'text'"):
        kit.register_corruption(modality="texts", rule="Nothing changes.")
    with pytest.raises(SpecError, match="the rule by which a corruption keeps the label is ''"):
        kit.register_corruption(modality="text", rule="")
    with pytest.raises(SpecError, match="corruption plain takes no severity"):
        kit.register_corruption(modality="text", rule="Nothing changes.")(plain)


@pytest.mark.parametrize(
    ("modality", "answer", "sentence"),
    [
        ("text", None, "corruption wrong gave None; expected a text"),
        (
            "image",
            np.full((2, 3), 1.5),
            r"gave pixels \(2, 3\) from 1.5 to 1.5; expected \(2, 3\) in",
        ),
        ("image", np.full((2, 3), np.nan), r"gave pixels \(2, 3\) from nan to nan; expected"),
        ("image", np.zeros((3, 2)), r"gave pixels \(3, 2\) from 0 to 0; expected \(2, 3\) in 0..1"),
    ],
)
@pytest.mark.usefixtures("registries")
def test_what_is_no_example_any_more_is_refused(modality: str, answer: Any, sentence: str) -> None:
    def wrong(text: Any, rng: Any, *, severity: kit.Severity) -> Any:
        return answer

    kit.register_corruption(modality=modality, rule="Nothing is kept.", version=1)(wrong)
    example = "a" if modality == "text" else np.zeros((2, 3), np.uint8)
    with pytest.raises(SpecError, match=sentence):
        corrupted([example], ["1"], Ref("wrong", severity=1))


@pytest.mark.usefixtures("registries")
def test_broken_promises_are_found() -> None:
    """Each corruption breaks one promise; its check says which."""

    def limitless(text: str, rng: Any, *, severity: int) -> str:
        return text + "." * severity

    def unseeded(text: str, rng: Any, *, severity: kit.Severity) -> str:
        return f"{text} {np.random.default_rng().integers(10**6)}" + "." * 20 * severity

    def milder(text: str, rng: Any, *, severity: kit.Severity) -> str:
        return text + "." * (6 - severity)

    def forgetful(text: str, rng: Any, *, severity: kit.Severity) -> str:
        return text.replace("not", "")[: 40 - severity]

    broken = {
        limitless: "takes severities 1 to 5 and no other",
        unseeded: "gives the same again",
        milder: "does more at a higher severity",
        forgetful: "keeps what carries the label",
    }
    for function, promise in broken.items():
        kit.register_corruption(modality="text", rule="None.", version=1)(function)
        failed = [check.check for check in kit.check(function.__name__) if not check.passed]
        assert failed == [promise]


def test_names_are_graded_and_refs_stay() -> None:
    found = graded(["typos", Ref("capitals", severity=2), "typos"], (1, 5))
    assert [str(ref) for ref in found] == [
        "typos(severity=1)",
        "typos(severity=5)",
        "capitals(severity=2)",
    ]
    with pytest.raises(SpecError, match="severity is 7"):
        graded(["typos"], [7])


def test_columns_of_a_corrupted_run_pair_with_the_clean_one(
    toys: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(toy_variant(toys), 1)
    seen: list[str] = []
    encode = type(runner.model.preprocessor).encode

    def listening(self: Any, texts: list[str], *more: Any) -> Any:
        seen.extend(texts)
        return encode(self, texts, *more)

    monkeypatch.setattr(type(runner.model.preprocessor), "encode", listening)
    clean = measure(runner, Quality(toys, limit=10)).columns
    corruption = Ref("capitals", severity=5)
    dirty = measure(runner, Quality(toys, limit=10, corruption=corruption, features=True)).columns
    for name in set(clean) - {"logits"}:
        np.testing.assert_array_equal(clean[name], dirty[name])
    assert seen[10:] == [text.upper() for text in seen[:10]]
    assert (clean["logits"] != dirty["logits"]).any()
    assert dirty["features"].shape == (10, 16)


def test_valence_is_kept_where_the_task_has_it(toys: Ref, registries: None) -> None:
    def rated() -> Any:
        frame = toy_frame(40).assign(valence=np.linspace(-4, 4, 40))
        return {"train": frame[:20], "validation": frame[20:30], "test": frame[30:]}

    kit.register_task(kind="classification", labels=("bad", "good"), version=1)(rated)
    runner = Runner(Variant(Ref("toy_rule")), 1, Ref("rated"))
    found = measure(runner, Quality(registry.tasks.canonical("rated"))).columns["valence"]
    assert list(found) == tasks.load("rated").split("test")["valence"]
    assert "valence" not in measure(runner, Quality(toys)).columns


def test_documents_are_corrupted_too(toys: Ref) -> None:
    prose = toy_texts()
    model = Runner(Variant(Ref("toy_causal")), 1)
    clean, dirty = (
        measure(model, Quality(prose, limit=4, corruption=corruption)).columns
        for corruption in (None, Ref("added_text", severity=1))
    )
    assert (dirty["bytes"] > clean["bytes"]).all()


@pytest.mark.usefixtures("registries", "fresh_store")
def test_own_data_under_corruptions_from_end_to_end(toys: Ref) -> None:
    """The paired rows, groups and flips of each corruption and severity."""
    own = kit.task_from_frame("own", toy_frame(200), groups=["country"])
    base = toy_variant(own)
    rule = Variant(Ref("toy_rule"), name="rule")
    study = kit.evaluate_shift(
        [base, rule],
        tasks=[own],
        baseline=base,
        corruptions=["capitals", Ref("typos", severity=2), "blur"],
        severities=(1, 5),
        validation=False,
        noise_floor=False,
    )
    assert study.left_out == {"blur of own": "blur corrupts images; own holds texts"}
    plan = study.plan()
    assert "test typos(severity=2)" in set(plan["split"])
    rows = kit.expand(study.run(executor="inline", on_error="raise"))
    accuracy = rows[(rows.metric == "accuracy") & (rows.variant == "rule") & (rows.group == "")]
    by_condition = accuracy.set_index("condition")["value"]
    assert set(accuracy[accuracy.split == "test"].condition) == {
        "",
        "corruption=capitals;severity=1",
        "corruption=capitals;severity=5",
        "corruption=typos;severity=2",
    }
    # the rule looks for a word in small letters
    assert by_condition["corruption=capitals;severity=5"] < 0.6
    changes = rows[(rows.metric == "accuracy_change") & (rows.corruption == "capitals")]
    assert set(changes.variant) == {"rule"} and set(changes.severity) == {1, 5}
    whole = changes[changes.group == ""]
    assert (whole.n == tasks.describe(own)["sizes"]["test"]).all()
    assert (whole.status == "ok").all() and len(whole) == 2
    groups = rows[(rows.metric == "accuracy") & (rows.corruption == "typos")].group
    assert set(groups) == {""}  # groups are shown on the items as they are
    shouted = study.flips(rule, corruption=Ref("capitals", severity=5))
    assert len(shouted) and all(text == text.upper() for text in shouted["text"])
    with pytest.raises(SpecError, match=r"on 'test' with typos\(severity=4\) are done"):
        study.flips(rule, corruption=Ref("typos", severity=4))


@pytest.mark.usefixtures("registries", "fresh_store")
def test_a_corrupted_run_that_failed_is_a_row_of_its_own(toys: Ref) -> None:
    @kit.register_corruption(modality="text", rule="It never comes so far.", version=1)
    def broken(text: str, rng: Any, *, severity: kit.Severity) -> str:
        raise RuntimeError("no such letter")

    rule = Variant(Ref("toy_rule"), name="rule")
    asked = [
        Run(rule, Quality(toys, limit=8, corruption=c)) for c in (None, Ref("broken", severity=3))
    ]
    study = kit.Study("broken", asked, rule)
    rows = study.run(executor="inline")
    found = rows[(rows.metric == "accuracy") & (rows.split == "test") & (rows.group == "")]
    assert dict(zip(found.condition, found.status, strict=True)) == {
        "": "ok",
        "corruption=broken;severity=3": "error",
    }
    assert found.note.str.contains("no such letter").any()


def test_examples_to_read(toys: Ref) -> None:
    table = kit.corrupted_examples(toys, ["typos", Ref("capitals", severity=5)], n=2)
    assert list(table) == [
        *("corruption", "severity", "label", "before", "after", "words", "negations")
    ]
    assert list(table.severity) == [1, 1, 3, 3, 5, 5, 5, 5]
    assert set(table.label) <= {"0", "1"}
    last = table.iloc[-1]
    assert last["after"] == last.before.upper()
    everything = kit.corrupted_examples(toys, severities=[1], n=1)
    assert set(everything.corruption) == {
        name for name in registry.corruptions.names() if "image" not in _modality(name)
    }
    with pytest.raises(SpecError, match="blur corrupts images"):
        kit.corrupted_examples(toys, ["blur"])


def _modality(name: str) -> str:
    return str(registry.corruptions.get(name).traits["modality"])


def test_the_clean_examples_are_the_tasks(toys: Ref) -> None:
    data = tasks.load(toys)
    rows = data.split("test", 5)
    assert examples_of(data, rows) == list(rows["text"])
    for severity in SEVERITIES:
        assert examples_of(data, rows, Ref("typos", severity=severity)) == corrupted(
            rows["text"], rows["id"], Ref("typos", severity=severity)
        )


@pytest.mark.usefixtures("registries")
def test_both_texts_of_a_pair_are_corrupted_each_by_draws_of_its_own() -> None:
    words = [f"{n * 7919} remarkable {n * 104729} sentences {n * n * 31}" for n in range(60)]
    frame = toy_frame(60).assign(text=words)
    frame["claim"] = frame["text"]
    data = tasks.load(kit.task_from_frame("pairs", frame, text=("text", "claim")))
    rows, ref = data.split("test"), Ref("typos", severity=3)
    before, after = data.examples(rows), examples_of(data, rows, ref)
    assert [pair[0] for pair in after] == corrupted(rows["text"], rows["id"], ref)
    assert all(isinstance(pair, tuple) and len(pair) == 2 for pair in after)
    assert any(pair[1] != old[1] for pair, old in zip(after, before, strict=True))
    assert any(one != other for one, other in after), "the two texts have the same faults"
    table = kit.corrupted_examples("pairs", ["capitals"], severities=[5], n=2)
    assert [text.upper() for text in table.before[0]] == list(table.after[0])


@pytest.mark.usefixtures("registries")
def test_a_label_is_shown_by_its_kind() -> None:
    frame = toy_frame(60).assign(
        score=[n / 8 for n in range(60)], loud=[n % 3 == 0 for n in range(60)]
    )
    kit.task_from_frame("scores", frame, label="score", kind="regression")
    kit.task_from_frame("marks", frame, label=["label", "loud"])
    shown = {
        name: set(kit.corrupted_examples(name, ["capitals"], severities=[1], n=20).label)
        for name in ("scores", "marks")
    }
    assert shown["scores"] <= {f"{n / 8:g}" for n in range(60)}
    assert shown["marks"] == {"", "label", "loud", "label, loud"}


@pytest.mark.usefixtures("registries")
def test_images_are_corrupted_as_the_task_gives_them() -> None:
    def squares() -> Any:
        frame = pd.DataFrame({"pixels": [[5 * at % 256] * 36 for at in range(40)]})
        frame["label"] = [at % 2 for at in range(40)]
        return {"train": frame[:20], "validation": frame[20:30], "test": frame[30:]}

    kit.register_task(
        kind="classification", labels=("even", "odd"), image_shape=(1, 6, 6), version=1
    )(squares)
    data = tasks.load("squares")
    rows = data.split("test", 3)
    for before, after in zip(
        data.examples(rows),
        examples_of(data, rows, Ref("brightness", severity=5)),
        strict=True,
    ):
        assert (after.shape, after.dtype) == (before.shape, np.uint8) == ((6, 6), np.uint8)
        np.testing.assert_array_equal(after, np.minimum(before + 127.5, 255).round())
    table = kit.corrupted_examples("squares", severities=[5], n=1)
    assert set(map(_modality, table.corruption)) == {"image"} and "words" not in table
    with pytest.raises(SpecError, match="typos corrupts texts; squares holds images"):
        Quality("squares", corruption=Ref("typos", severity=1))
