"""Numbers in prose come from exactly one row, or the placeholder says what is wrong with it."""

import math

import pytest
from conftest import make_rows

from kit.report.placeholders import fill_markdown, fill_verdict, names_in, placeholder, without
from kit.spec.checking import SpecError
from kit.store import results


@pytest.fixture(scope="module")
def rows():
    made = make_rows()
    made.append(made[0] | {"group": "length=short", "value": 0.5})
    twice = [row | {"study": "again"} for row in made if row["variant"] == "majority"]
    return results.to_frame([*made, *twice])


@pytest.mark.parametrize(
    ("placeholder", "text"),
    [
        ("accuracy variant=base split=test | %", "84%"),  # pooled over seeds, the whole split
        ("accuracy variant=base split=test seed=1 | %1", "84.4%"),
        ("accuracy variant=base split=test seed=0 group=length=short | number", "0.500"),
        ("accuracy variant='base w4' split=tweets seed=0 | ci", "0.596 [0.566, 0.626]"),
        ("accuracy variant=base split=test | ci", "0.840"),  # two seeds have no interval
        ("accuracy_change variant='base w4' split=test | points", "-3.0"),
        ("speedup variant='base onnx' batch_size=1 | ci", "1.38 [1.28, 1.46]"),
        ("speedup variant='base onnx' condition='batch_size=1;length=task;threads=2' | %", "138%"),
        ("accuracy variant=majority split=nyt | %", "50%"),  # the same row in two studies
        ("accuracy variant='base bf16' split=nyt | %", "undefined"),
    ],
)  # fmt: skip
def test_one_row_is_found_and_formatted(rows, placeholder, text):
    assert fill_verdict(f"a {{{{{placeholder}}}}} b", rows) == f"a {text} b"


def test_without_a_corruption_it_is_the_split_as_it_is(rows):
    at = "corruption=typos;severity=3"
    extra = dict(rows[(rows.metric == "accuracy") & (rows.variant == "base")].iloc[0])
    both = results.to_frame([*rows.to_dict("records"), extra | {"condition": at, "value": 0.25}])
    keys = {"variant": "base", "split": extra["split"], "seed": extra["seed"]}
    clean = fill_verdict(placeholder("accuracy", "number", **keys), both)
    assert clean == fill_verdict(placeholder("accuracy", "number", **keys), rows) != "0.250"
    hurt = placeholder("accuracy", "number", **keys, corruption="typos", severity=3)
    assert fill_verdict(hurt, both) == "0.250"


def test_a_placeholder_is_written_as_it_is_read(rows):
    assert placeholder("accuracy", variant="base", split="test") == (
        "{{accuracy variant=base split=test | %}}"
    )
    keys = {"variant": "base onnx", "batch_size": 1}
    assert fill_verdict(placeholder("speedup", "ci", **keys), rows) == "1.38 [1.28, 1.46]"


@pytest.mark.parametrize(
    ("placeholder", "hint"),
    [
        ("acuracy variant=base | %", "unknown metric 'acuracy'. Did you mean 'accuracy'?"),
        ("accuracy variant=bse | %", "unknown variant 'bse'. Did you mean 'base'?"),
        ("accuracy varint=base | %", "unknown key 'varint'. Did you mean 'variant'?"),
        ("accuracy variant=base | %", "they differ in split (test, amazon, tweets, nyt)"),
        ("speedup variant='base onnx' | ci", "they differ in condition"),
        ("speedup variant='base onnx' batch_size=2 | ci", "unknown batch_size '2'"),
        ("accuracy variant=base split=test seed=7 | %", "unknown seed '7'"),
        ("accuracy variant=base split=test | percent", "unknown format 'percent'"),
        ("accuracy variant=base split=test", "expected `METRIC key=value ... | FORMAT`"),
        ("accuracy variant='base | %", "quote values as in a shell"),
        ("variant=base | %", "expected one metric, got none"),
        ("02_x accuracy variant=base | %", "expected one metric, got 02_x accuracy"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(rows, placeholder, hint):
    with pytest.raises(SpecError) as found:
        fill_verdict(f"{{{{{placeholder}}}}}", rows)
    assert hint in str(found.value)


def test_markdown_is_refilled_for_one_table_alone(rows):
    own = "<!--= 02_x accuracy variant=base split=test | % -->"
    other = "<!--= 03_y accuracy variant=base | % -->1%<!--/-->"
    text = f"It is {own}0%<!--/-->, {other}.\n\n<!--= verdict 02_x -->old<!--/-->\n"
    filled = fill_markdown(text, "02_x", rows, "Take it.\n\nOr not.")
    quoted = "<!--= verdict 02_x -->\n> Take it.\n>\n> Or not.\n<!--/-->"
    assert filled == f"It is {own}84%<!--/-->, {other}.\n\n{quoted}\n"
    assert fill_markdown(filled, "02_x", rows, "Take it.\n\nOr not.") == filled
    assert names_in(filled) == {"02_x", "03_y"}
    assert without(filled) == "It is , .\n\n\n"


def test_a_number_rounds_as_the_file_it_is_written_to(rows, tmp_path):
    """0.855 over seeds is 0.8549999..., which alone would round to 85%."""
    mean = (0.86 + 0.85 + 0.855) / 3
    exact = math.nextafter(mean, 0)
    frame = rows.copy()
    frame.loc[frame["seed"] == "all", "value"] = exact
    results.write_table(frame, tmp_path / "t.csv")
    ask = "{{accuracy variant=base split=test | %}}"
    assert fill_verdict(ask, frame) == fill_verdict(ask, results.read_table(tmp_path / "t.csv"))
