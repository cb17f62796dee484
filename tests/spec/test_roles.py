"""An argument's role stands in its annotation: what it names, what it shifts, what it rounds."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from helpers import Cells, toy_variant

import kit
from kit.report import tables
from kit.report.placeholders import fill_verdict, placeholder
from kit.report.wording import number
from kit.spec import registry, roles
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import named
from kit.store.meaning import is_shifted

pytestmark = pytest.mark.usefixtures("registries", "fresh_store")


def registered() -> None:
    @kit.register_measurement(where="worker", artifacts=("classification",))
    def asked_otherwise(
        runner: Any,
        *,
        about: kit.TaskRef,
        part: kit.Split = "test",
        tone: Annotated[str, kit.Axis(neutral="plain")] = "plain",
        damage: kit.CorruptionRef = None,
        chunk: Annotated[int, kit.Rounding((1, 4))] = 32,
        fill: Annotated[str, kit.Rounding(("all",), modality="text")] = "batch",
    ) -> Any: ...


def asked(toys: Ref, **args: Any) -> Ref:
    return registry.measurements.canonical(Ref("asked_otherwise", about=toys, **args))


def test_roles_are_found_under_any_name(toys: Ref) -> None:
    registered()
    typos = Ref("typos", severity=2)
    plain, other = asked(toys), asked(toys, tone="rude", damage=typos, part="later")
    assert roles.data(other) == {"task": toys, "split": "later"}
    assert roles.shifted_by(plain) == {} == roles.shift_parts(plain)
    assert roles.shifted_by(other) == {"tone": "rude", "damage": typos}
    assert roles.shift_parts(other) == {"tone": "rude", "damage": "typos", "severity": 2}
    assert registry.measurements.canonical(roles.on_split(other, "test")) == plain
    assert roles.rounding(plain) == {"chunk": 32, "fill": "batch"}
    assert roles.repeats(plain, "image") == [{"chunk": 1}, {"chunk": 4}]
    assert roles.repeats(plain, "text") == [{"chunk": 1}, {"chunk": 4}, {"fill": "all"}]
    assert named(other) == [("tasks", toys), ("corruptions", typos)]
    assert named(plain) == [("tasks", toys)]


def test_a_condition_is_shifted_by_what_is_declared_as_an_axis() -> None:
    assert is_shifted("context=256;corruption=typos;severity=3")
    assert not is_shifted("context=256;tone=rude") and not is_shifted("")
    registered()
    assert is_shifted("context=256;tone=rude") and not is_shifted("chunk=1;varied=chunk")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"tone": "a;b"}, "'a;b' has a ; or ="),
        ({"tone": "two\nlines"}, "what shifts the items"),
        ({"damage": "typoz"}, "unknown corruption 'typoz'. Did you mean 'typos'?"),
        ({"damage": Ref("typos", severity=9)}, "severity"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_typed(
    toys: Ref, args: dict[str, Any], message: str
) -> None:
    registered()
    with pytest.raises(SpecError, match=message):
        kit.Run(toy_variant(toys), Ref("asked_otherwise", about=toys, **args))


PROMPTS = '''
import numpy as np
import kit
from typing import Annotated

TEMPLATES = {"plain": "", "polite": "please tell whether this is kind "}


@kit.register_measurement(where="worker", artifacts=("classification",))
def prompted(
    runner,
    *,
    task: kit.TaskRef,
    split: kit.Split = "test",
    batch_size: Annotated[int, kit.Rounding((1,))] = 32,
    template: Annotated[str, kit.Axis(neutral="plain")] = "plain",
):
    """Predictions of texts behind a prefix: the same items, shifted."""
    rows = kit.tasks.load(task).split(split)
    texts = [TEMPLATES[template] + text for text in rows["text"]]
    columns = {name: np.asarray(rows[name]) for name in ("cluster", "label", "country")}
    columns |= {"item": np.asarray(rows["id"]), "group:country": columns.pop("country")}
    return kit.Raw("classification", columns | {"logits": runner.predict(texts, batch_size)})


@kit.register_derived(reads=("accuracy", "nll"), unit="1/nat", higher_is_better=True)
def right_a_nat(rows):
    """Share of right answers over the negative log-likelihood, of the items as they are."""
    place = ("variant", "seed", "split", "condition", "group")
    nll = {tuple(r[k] for k in place): r["value"] for r in rows if r["metric"] == "nll"}
    for row in rows:
        key = tuple(row[name] for name in place)
        if row["metric"] == "accuracy" and key in nll:
            yield {**kit.key_of(row), "value": row["value"] / nll[key]}
'''


def test_a_second_axis_and_a_derived_row_from_a_cell_go_through_a_study(
    toys: Ref, cells: Cells
) -> None:
    cells.run(PROMPTS)
    base = toy_variant(toys)
    small = base.replace(schemes=["w2"], name="small")
    asks = [Ref("prompted", task=toys, template=each) for each in ("plain", "polite")]
    runs = [kit.Run(variant, ask) for variant in (base, small) for ask in asks]
    runs.append(kit.Run(base, asks[0].replace(batch_size=1)))
    wanted = ["accuracy", "accuracy_retained", "nll"]
    study = kit.Study("axis", runs, base, shifted_metrics=wanted)
    plan = study.plan()
    assert set(plan["split"]) == {"", "test", "test polite"}
    table = study.run(executor="inline", metrics=["right_a_nat"])
    assert set(table["status"]) == {"ok"}

    of_small = table[(table.variant == "small") & (table.group == "")]
    for metric in ("accuracy", "accuracy_change", "flips_lost"):
        found = of_small[of_small.metric == metric].set_index("condition")
        assert set(found.index) == {"", "template=polite"} and found.n.nunique() == 1
    changes = of_small[of_small.metric == "accuracy_change"]
    assert changes.p_adjusted.tolist() == changes.p_value.tolist(), "each is a family of its own"
    retained = table[table.metric == "accuracy_retained"]
    assert set(retained.condition) == {"template=polite"} and set(retained.variant) == {
        *("base", "small")
    }
    (noise,) = table[table.metric == "noise_flips"].itertuples()
    assert noise.condition == "batch_size=1;varied=batch_size"

    ratio = of_small[of_small.metric == "right_a_nat"].set_index("condition")
    nll = of_small[of_small.metric == "nll"].set_index("condition")
    right = of_small[of_small.metric == "accuracy"].set_index("condition")
    assert ratio.value.to_dict() == pytest.approx((right.value / nll.value).to_dict())
    assert set(ratio.note) == {"derived from accuracy and nll: no interval"}

    judged = kit.non_inferior(table, 0.5, 0.5)
    assert set(judged["condition"]) == {""}
    assert "polite" not in str(kit.summary(table, ["accuracy"]))
    assert list(tables.shifted(table, "accuracy")["copy"]) == ["polite", "polite"]
    text = fill_verdict(placeholder("accuracy", "number", variant="small"), table)
    assert text == number(right.loc["", "value"])
    base_right = study.predictions("base", template="polite")
    assert base_right.run.measurement.args["template"] == "polite"
    assert study.predictions("base").run.measurement.args["template"] == "plain"
