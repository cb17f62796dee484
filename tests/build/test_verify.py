"""A variant answers as the deployed model does, or neither its quality nor its time counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deployed
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import restored
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    GPT2Config,
    XLNetConfig,
)

import kit
from kit.architectures import configuration
from kit.build.runner import Runner
from kit.build.verify import tried, verify
from kit.checks import check
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.study.study import Study

WORDS = [f"w{k:02}" for k in range(60)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
KINDS = {
    "distilbert": lambda: DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16),
    "gpt2": lambda: GPT2Config(n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3),
    "xlnet": lambda: XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=16),
}


def save(folder: Path, kind: str = "distilbert", labels: tuple[str, ...] = ("pos", "neg")) -> Path:
    """Saves a tiny random classifier and its tokenizer, as save_pretrained does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {token: number for number, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = "$A [SEP] [CLS]" if kind == "xlnet" else "[CLS] $A [SEP]"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 48, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    config = KINDS[kind]()
    config.update({"vocab_size": len(ids), "initializer_range": 0.5, "pad_token_id": 0})
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def texts(count: int = 80) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 80))) for _ in range(count)]


def alone(folder: Path, given: list[str]) -> np.ndarray:
    """What transformers says of each text by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for text in given:
            inputs = tokenizer(text, truncation=True, return_tensors="pt")
            rows.append(model(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test found of a model is not kept for the next."""
    monkeypatch.setenv("KIT_STORE", str(tmp_path / "store"))


@pytest.fixture
def task(folder: Path) -> Iterator[Ref]:
    """Texts labelled by the model itself: right is 1.0."""
    import pandas as pd

    given = texts()
    labels = [("pos", "neg")[k] for k in alone(folder, given).argmax(1)]
    with restored():
        frame = pd.DataFrame({"text": given, "label": labels})
        yield kit.task_from_frame("labelled by itself", frame, test=0.6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 32])
def test_predictions_are_those_of_transformers(tmp_path: Path, kind: str, batch_size: int) -> None:
    folder, given = save(tmp_path / kind, kind), texts(24)
    runner = Runner(Variant(f"hf:{folder}"), 1)
    expected = alone(folder, given)
    np.testing.assert_allclose(
        runner.predict(given, batch_size), expected, atol=1e-4 * np.abs(expected).max()
    )
    cut = runner.cut(given)
    assert cut is not None
    assert cut.any()


@pytest.mark.parametrize("runtime", ["eager", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_faithful_variant_scores_what_it_scores_when_deployed(
    folder: Path, task: Ref, runtime: str
) -> None:
    variant = Variant(f"hf:{folder}", name="mine", runtime=runtime)
    study = Study("faithful", [Run(variant, kit.Quality(task))], variant)
    table = study.run(executor="inline", on_error="raise")
    accuracy = table[(table.metric == "accuracy") & (table.split == "test")]
    assert accuracy.value.tolist() == [1.0]
    assert verify(variant, task) < 1e-3


def test_tokens_read_otherwise_are_found_and_said(
    folder: Path, task: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        configuration, "window", lambda config, tokenizer, asked: 20
    )  # a mistake of kit's
    variant = Variant(f"hf:{folder}", name="mine")
    with pytest.raises(Undefined, match=r"it reads .* as 20 tokens, transformers as \d+"):
        verify(variant, task)
    study = Study("unfaithful", [Run(variant, kit.Quality(task))], variant)
    rows = study.run(executor="inline")
    assert set(rows.status) == {"undefined"}
    assert rows.note.str.contains("does not answer as transformers does").all()


def test_outputs_that_differ_are_found(
    folder: Path, task: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Runner.forward
    monkeypatch.setattr(Runner, "forward", lambda self, inputs: real(self, inputs)[:, ::-1])
    with pytest.raises(Undefined, match=r"outputs differ by .* of the largest"):
        verify(Variant(f"hf:{folder}", name="mine"), task)


def test_of_questions_the_first_answer_is_tried_too() -> None:
    rows = [{"question": f"{k}?", "choices": [f"all {k}", "some"], "answer": 0} for k in range(30)]
    quiz = kit.choices_from_frame("sentences", pd.DataFrame(rows), template="{question}")
    for text in tried(quiz):
        asked, _, said = text.partition("? ")
        assert said == f"all {asked}"


def test_what_is_tried_holds_the_longest_and_the_shortest(task: Ref) -> None:
    data = kit.tasks.load(task)
    sizes = sorted(len(text) for text in data.split("test")["text"])
    found = [len(text) for text in tried(task)]
    assert (min(found), max(found)) == (sizes[0], sizes[-1])
    assert len(found) == len(set(found)) == 8


def test_it_is_found_once(folder: Path, task: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    first = verify(Variant(f"hf:{folder}", name="mine"), task)

    def never(*args: Any) -> None:
        raise AssertionError("it was kept")

    monkeypatch.setattr("kit.build.verify._against_deployed", never)
    assert verify(Variant(f"hf:{folder}", name="other"), task) == first


def test_check_tries_a_folder_before_a_study_does(folder: Path, task: Ref) -> None:
    for given in (None, task):
        found = {one.check: one for one in check(f"hf:{folder}", given)}
        assert all(one.passed for one in found.values()), found
        assert found["can be read"].message == "a classifier model that reads 48 tokens"
        assert "the model has 512 positions" not in str(found)
    assert "are cut at 48 tokens" in found["sees whole texts"].message
    assert found["answers with"].message == "neg, pos"


def test_a_weight_that_is_no_number_is_found_where_no_text_reads_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = save(tmp_path / "broken") / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "word_embeddings" in name)
    weights[name][-1, 0] = float("nan")
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(Undefined, match=r"1 of the 1,024 weights of .*word_embeddings.* are no"):
        verify(Variant(f"hf:{file.parent}"), None)


def test_the_terminal_takes_labels_and_columns(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from kit.cli.main import app

    model, data = save(tmp_path / "named", labels=("BAD", "FINE")), tmp_path / "data"
    data.mkdir()
    given = texts()
    rows = [f"{text},{'pn'[k % 2]}" for k, text in enumerate(given)]
    (data / "table.csv").write_text("\n".join(["body,mark", *rows]))
    words = ["check", f"hf:{model}", "--task", f"hf:{data}", "--text", "body", "--label", "mark"]
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, "'BAD'" in refused.output) == (1, True)
    done = CliRunner().invoke(app, [*words, "--labels", "BAD=n", "--labels", "FINE=1"])
    assert done.exit_code == 0, done.output
    assert "BAD as n, FINE as p" in done.output
    wrong = CliRunner().invoke(app, [*words, "--labels", "BAD"])
    assert (wrong.exit_code, "such as NEGATIVE=neg" in wrong.output) == (2, True)


def test_the_plan_says_what_is_cut_and_what_will_fail(
    folder: Path, task: Ref, tmp_path: Path
) -> None:
    variant = Variant(f"hf:{folder}", name="mine")
    other = Variant(f"hf:{save(tmp_path / 'other', labels=('A', 'B'))}", name="other")
    writer = Variant(f"hf:{deployed.save('llama', tmp_path / 'writer', 'causal')}", name="writer")
    asked = [Run(v, kit.Quality(task)) for v in (variant, other, writer)]
    plan = Study("planned", asked, variant).plan()
    reasons = dict(zip(plan.variant, plan.reason, strict=True))
    minutes = dict(zip(plan.variant, plan.minutes, strict=True))
    states = dict(zip(plan.variant, plan.status, strict=True))
    assert states["mine"] == "to do" and states["other"] == states["writer"] == "cannot"
    assert minutes["mine"] > 0 == minutes["other"] == minutes["writer"], "what fails takes none"
    assert f"{task.name} asks for a classifier; the model gives tokens" in reasons["writer"]
    assert "texts are cut at 48 tokens" in reasons["mine"]
    assert reasons["other"].startswith("will fail: other has the labels A, B;")


def test_a_folder_that_changes_while_a_study_runs_leaves_nothing(
    task: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = save(tmp_path / "changing")
    variant = Variant(f"hf:{changing}", name="mine")
    study = Study("changing", [Run(variant, kit.Quality(task))], variant)
    real = Runner.predict

    def predict(self: Runner, *args: Any) -> np.ndarray:
        config = changing / "config.json"
        config.write_text(config.read_text() + " ")
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "predict", predict)
        study.run(executor="inline")
    assert "to do" in study.plan().status.tolist(), "its run is not done, of neither content"
    table = study.run(executor="inline", on_error="raise")
    assert (table[table.metric == "accuracy"].status == "ok").all()


def test_no_absolute_path_reaches_a_table(task: Ref, tmp_path: Path) -> None:
    folder = save(tmp_path / "broken", labels=("pos", "neg"))
    (folder / "model.safetensors").write_bytes(b"no weights")
    variant = Variant(f"hf:{folder}")
    table = Study("broken", [Run(variant, kit.Quality(task))], variant).run(executor="inline")
    assert (table.status == "error").all()
    assert (
        not table.astype(str).apply(lambda column: column.str.contains(str(tmp_path))).any().any()
    )
    assert table.note.str.contains("broken could not be loaded").all()
