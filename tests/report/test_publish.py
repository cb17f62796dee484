"""What `publish` writes comes back the same, escaped and whole."""

import pandas as pd
import pytest
from conftest import make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

import kit
from kit.report import plot, publish
from kit.spec.checking import SpecError
from kit.store import results


class Made:
    def __init__(self, name="shift", machines=("X",)):
        self.name = name
        self._machines = machines

    def table(self):
        rows = [row | {"study": self.name} for row in make_rows()]
        return results.to_frame(rows).assign(machine=len(self._machines) - 1)

    def machines(self):
        index = pd.RangeIndex(len(self._machines), name="machine")
        return pd.DataFrame({"cpu": list(self._machines), "cores": 2}, index=index)

    def record(self):
        run = {"measurement": {"ref": "classify"}}
        kept = {"run": run, "versions": {"architectures/majority": "1"}, "assets": {}, "built": {}}
        return {ids: {**kept, "seconds": 1.5} for ids in set(self.table()["run_id"])}


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KIT_PRESET", raising=False)
    return tmp_path


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_round_trip(project):
    figures = {"quality": plot.quality(Made().table())}
    page = publish.publish("02_sentiment", Made(), verdict="Take onnx.", figures=figures, svg=True)
    assert page == project / "results" / "02_sentiment.md"
    found = files(project / "results")
    assert sorted(found) == [
        *("02_sentiment.csv", "02_sentiment.machines.csv", "02_sentiment.md"),
        "02_sentiment.runs.json",
        *("figures/02_sentiment_quality.png", "figures/02_sentiment_quality.svg"),
    ]
    back = kit.load("02_sentiment")
    assert len(back) == len(make_rows())
    text = page.read_text()
    assert "| base onnx | 0.840 (0.836 / 0.844) |" in text
    assert "![quality](figures/02_sentiment_quality.png)" in text
    assert "accuracy of base bf16 on test" in text
    publish.publish("02_sentiment", Made(), verdict="Take onnx.", figures=figures)
    assert files(project / "results") == found


README = """# x

It is right on <!--= 02_sentiment accuracy variant=base split=test | % -->1%<!--/--> of texts,
<!--= 03_other accuracy variant=base | % -->2%<!--/--> elsewhere.

<!--= verdict 02_sentiment --><!--/-->
"""


def test_numbers_of_a_verdict_and_of_the_readme_come_from_rows(project, capsys):
    (project / "README.md").write_text(README)
    verdict = "It has {{accuracy variant=base split=test | %}}.\n\nTake *it*."
    page = publish.publish("02_sentiment", Made(), verdict=verdict)
    assert publish.read_verdict(page) == "It has 84%.\n\nTake *it*."
    assert "It has 84%." in capsys.readouterr().out
    text = (project / "README.md").read_text()
    assert "-->84%<!--/--> of texts" in text
    assert "-->2%<!--/--> elsewhere" in text
    assert "\n> It has 84%.\n>\n> Take \\*it\\*.\n<!--/-->" in text
    publish.publish("02_sentiment", Made(), verdict=verdict)
    assert (project / "README.md").read_text() == text


def test_the_readme_is_of_the_default_preset(project, monkeypatch):
    (project / "README.md").write_text(README)
    monkeypatch.setenv("KIT_PRESET", "smoke")
    publish.publish("02_sentiment", Made())
    assert (project / "README.md").read_text() == README


def test_a_wrong_placeholder_leaves_no_page(project):
    with pytest.raises(SpecError, match="unknown metric 'acuracy'. Did you mean 'accuracy'?"):
        publish.publish("02_sentiment", Made(), verdict="It has {{acuracy variant=base | %}}.")
    assert not (project / "results").exists()


def test_another_preset_publishes_elsewhere(project, monkeypatch):
    monkeypatch.setenv("KIT_PRESET", "smoke")
    assert publish.publish("01_x", Made()).parent == project / "results" / "smoke"


def test_machines_of_several_studies_are_numbered_once(project):
    publish.publish("02_x", Made("a", ["X"]), Made("b", ["Y", "X"]), Made("c", ["Y"]))
    machines = pd.read_csv(project / "results" / "02_x.machines.csv", index_col="machine")
    assert list(machines["cpu"]) == ["X", "Y"]
    rows = kit.load("02_x")
    assert rows.groupby("study")["machine"].first().to_dict() == {"a": 0, "b": 0, "c": 1}
    assert "## Table: b" in (project / "results" / "02_x.md").read_text()


@pytest.mark.parametrize("name", ["../evil", "02/x", "sentiment", "02_a b", "", "02_x.md"])
def test_a_name_never_becomes_another_path(project, name):
    with pytest.raises(SpecError, match="expected a name such as '02_sentiment'"):
        publish.publish(name, Made())
    with pytest.raises(SpecError, match="lowercase letters"):
        publish.publish("02_x", Made(), figures={"../x": plot.quality(Made().table())})
    assert not (project / "results").exists()


def test_studies_need_names_of_their_own(project):
    with pytest.raises(SpecError, match="each with its own name"):
        publish.publish("02_x", Made(), Made())
    with pytest.raises(SpecError, match="at least one"):
        publish.publish("02_x")


def test_markup_is_escaped():
    made = publish.escape("<script>a|b</script> *x* [l](u) _i_ conv_lm [0.1, 0.2] &lt;")
    assert made == r"&lt;script>a\|b&lt;/script> \*x\* [l\](u) \_i\_ conv_lm [0.1, 0.2] \&lt;"


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40))
def test_a_verdict_is_read_back(tmp_path_factory, text):
    page = tmp_path_factory.getbasetemp() / "page.md"
    verdict = f"Take {text.replace('&lt;', '')} and go."
    page.write_text(f"# x\n\n{publish.escape(verdict)}\n\n## Table\n", encoding="utf-8")
    assert publish.read_verdict(page) == verdict
