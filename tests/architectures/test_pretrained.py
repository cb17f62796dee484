from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kit.architectures.folder import locate
from kit.architectures.model import load_weights, make_model, save_model, shell
from kit.architectures.outputs import logits
from kit.architectures.pretrained import kind_of
from kit.architectures.states import state_bytes
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.tasks.task import Task


@pytest.fixture(scope="module")
def classifier(
    tmp_path_factory: pytest.TempPathFactory, save_tokenizer: Callable[[Path], None]
) -> Path:
    """A folder with a tiny classifier of three labels: POSITIVE, neutral, NEGATIVE."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier")
    save_tokenizer(folder)
    names = {0: "POSITIVE", 1: "neutral", 2: "NEGATIVE"}
    config = BertConfig(
        vocab_size=7,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        initializer_range=0.5,
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def causal(
    tmp_path_factory: pytest.TempPathFactory, save_tokenizer: Callable[[Path], None]
) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("causal")
    save_tokenizer(folder)
    config = LlamaConfig(
        vocab_size=7,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    return folder


def test_answers_follow_the_task(classifier: Path, reviews: Task, tmp_path: Path) -> None:
    model = make_model(Ref(f"hf:{classifier}"), reviews, seed=0)
    assert model.kind == "classifier"
    assert model.labels == ("negative", "positive", "neutral"), "what the task lacks comes last"
    inputs = model.preprocessor.collate(model.preprocessor.encode(["good cat"]))
    with torch.no_grad():
        own = model.module.eval()(**inputs).numpy()
    assert model.head is not None
    np.testing.assert_array_equal(model.head(own), own[:, [2, 0, 1]])
    save_model(model, tmp_path)
    load_weights(model, tmp_path)
    assert shell(Ref(f"hf:{classifier}"), reviews).labels == model.labels
    assert make_model(Ref(f"hf:{classifier}"), None, seed=0).labels[0] == "POSITIVE"


def test_causal_is_fp32_without_cache(causal: Path) -> None:
    model = make_model(Ref(f"hf:{causal}"), None, seed=0)
    assert model.kind == kind_of(str(causal)) == "causal"
    output = model.module(input_ids=torch.tensor([[2, 5, 6]]))
    assert logits(output).shape == (1, 3, 7)
    assert logits(output).dtype == torch.float32
    assert output.past_key_values is None
    assert state_bytes(model.module, 10) == 2 * 8 * 10 * 4
    assert shell(Ref(f"hf:{causal}"), None).kind == "causal"


def test_sources_that_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        locate(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="is no folder, nor an id"):
        locate("./nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(SpecError, match="is BertModel; expected a class ending in"):
        kind_of(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match="is no JSON"):
        kind_of(str(tmp_path))

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(FileNotFoundError, match=r"model hub \(OSError\)\. Save .* hf:\./folder"):
        locate("someone/model")


def test_missing_weights(classifier: Path, reviews: Task, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in classifier.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SpecError, match=r"lacks 1 weights .* such as classifier\.weight"):
        make_model(Ref(f"hf:{tmp_path}"), reviews, seed=0)


def test_a_head_of_another_size_is_told_with_both(
    classifier: Path, reviews: Task, tmp_path: Path
) -> None:
    for path in classifier.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"id2label": {0: "negative", 1: "positive"}}
    config.pop("num_labels", None)
    config["label2id"] = {"negative": 0, "positive": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=r"asks for classifier\.\w+ of shape \(2,.*hold \(3,"):
        make_model(Ref(f"hf:{tmp_path}"), reviews, seed=0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("BertForTokenClassification", "labels each token"),
        ("BertForQuestionAnswering", "marks the span"),
    ],
)
def test_other_heads_are_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))
    with pytest.raises(SpecError, match=says):
        kind_of(str(tmp_path))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft reads what transformers renamed
def test_an_adapter_is_merged(classifier: Path, reviews: Task, tmp_path: Path) -> None:
    """What is merged answers as PEFT's own model does, beside its base and alone."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForSequenceClassification

    base = AutoModelForSequenceClassification.from_pretrained(classifier)
    torch.manual_seed(0)
    lora = LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False, lora_alpha=64
    )
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    get_peft_model(base, lora).save_pretrained(alone)
    about = json.loads((alone / "adapter_config.json").read_text())
    about["base_model_name_or_path"] = str(classifier)
    (alone / "adapter_config.json").write_text(json.dumps(about))
    shutil.copytree(classifier, beside)
    for file in alone.glob("adapter_*"):
        shutil.copy(file, beside)
    texts = ["good cat", "bad bad cat good"]
    fresh = AutoModelForSequenceClassification.from_pretrained(classifier)
    right = PeftModel.from_pretrained(fresh, str(alone)).eval()
    answers = []
    for folder in (alone, beside, classifier):
        model = make_model(Ref(f"hf:{folder}"), reviews, seed=0)
        inputs = model.preprocessor.collate(model.preprocessor.encode(texts))
        with torch.no_grad():
            answers.append(model.module.eval()(**inputs))
            expected = right(**inputs).logits
    torch.testing.assert_close(answers[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(answers[1], expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(answers[2], expected, atol=1e-3), "the base alone answers otherwise"


def test_an_adapter_without_peft_is_refused(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(classifier, tmp_path, dirs_exist_ok=True)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"task_type": "SEQ_CLS"}))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SpecError, match=r"is an adapter .* pip install 'kit\[peft\]'"):
        make_model(Ref(f"hf:{tmp_path}"), None, seed=0)


def test_majority(reviews: Task) -> None:
    model = make_model(Ref("majority"), reviews, seed=0)
    scores = model.module(["a", "b", "c"])
    assert (scores.shape, scores.dtype) == ((3, 2), np.float32)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-6)
    assert model.probabilities is True
    assert model.tokenizer is None


def test_vader(reviews: Task) -> None:
    model = make_model(Ref("vader"), reviews, seed=0)
    scores = model.module(["a wonderful film", "a horrible film", "", "🙂" * 3])
    assert scores[:2].argmax(1).tolist() == [1, 0]
    assert scores[2].tolist() == [0, 0]
    assert model.probabilities is False


def test_a_classifier_needs_labels(language: Task) -> None:
    for task in (None, language):
        with pytest.raises(SpecError, match="expected a classification task"):
            make_model(Ref("majority"), task, seed=0)
