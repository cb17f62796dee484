"""Four of the kit's tasks against lm-evaluation-harness: its definitions, its model, our rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple
from unittest import mock

import lm_eval.utils
import numpy as np
import pytest
import torch
from helpers import restored
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from reading import READINGS
from tiny_models import MODELS, configuration

import kit
from kit import tasks
from kit.measurements import ScoreChoices
from kit.measurements.interface import Bench
from kit.measurements.lm_eval import run_task
from kit.spec import registry
from kit.spec.ref import Ref
from kit.spec.spec import Run
from kit.store.store import Artifact

pytestmark = [pytest.mark.filterwarnings("ignore:::datasets"), pytest.mark.slow]
FILES = {
    "piqa": "piqa/piqa.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "commonsense_qa": "commonsense_qa/default.yaml",
}
MODEL_TYPES = ("gemma3_text", "mamba2", "qwen3")
ITEMS, WINDOW, VOCABULARY = 500, 96, 500


class Asked(NamedTuple):
    """One of the kit's tasks, and the library's task of the same items.

    Attributes:
        task: the library's.
        places: where the library has each item, by id.
        splits: of the kit's task, the items of which are asked.
    """

    task: Any
    places: dict[str, int]
    splits: dict[str, int]


def document(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Returns an item as the library's task reads it."""
    offer, right = list(row["choices"]), row["label"][0]
    lettered = {"text": offer, "label": [*ascii_uppercase[: len(offer)]]}
    return {
        "piqa": {"goal": row["text"], "sol1": offer[0], "sol2": offer[-1], "label": right},
        "openbookqa": {"question_stem": row["text"], "choices": lettered,
                       "answerKey": ascii_uppercase[right]},
        "boolq": {"passage": row["text"], "question": row.get("text_pair"), "label": right},
        "commonsense_qa": {"question": row["text"], "choices": lettered,
                           "answerKey": ascii_uppercase[right]},
    }[name]  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Asked]]:
    folder, home, made = tmp_path_factory.mktemp("rows"), Path(lm_eval.__file__).parent, {}
    compiled = functools.lru_cache(64)(lm_eval.utils.env.from_string)  # it compiles each anew
    with restored(), mock.patch.object(lm_eval.utils.env, "from_string", compiled):
        for name, file in FILES.items():
            data, splits, rows = tasks.load(name), {}, []
            for split in ("test", "train"):  # openbookqa has 500 items in both together
                if len(rows) < ITEMS:
                    some = data.split(split, ITEMS - len(rows)).to_list()
                    splits[split] = len(some)
                    rows += some
            config = load_yaml(home / "tasks" / file)
            config["metric_list"] = [
                {"metric": each, "aggregation": "mean", "higher_is_better": True}
                for each in ("acc", "acc_norm", "acc_bytes")
            ]
            path = folder / f"{name}.jsonl"
            lines = [json.dumps(document(name, row)) + "\n" for row in rows]
            path.write_text("".join(lines), encoding="utf-8")
            tested = config.get("test_split") or config["validation_split"]
            ref = tasks.lm_eval(config, data_files={tested: path})
            assert tasks.load(ref).kind == "lm_eval_choices"
            harness = registry.tasks.get(ref.name).traits["harness"]()
            made[name] = Asked(harness, {row["id"]: k for k, row in enumerate(rows)}, splits)
        yield made


def save_model(folder: Path, model_type: str, texts: list[str]) -> Path:
    """Returns the folder of a random model whose tokenizer learned its words from some texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    family = READINGS[MODELS[model_type].reading]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*family.specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if family.template:  # a token before each text
        first = family.template.split()[0]
        tokenizer.post_processor = processors.TemplateProcessing(
            family.template, special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    roles = {f"{role}_token": token for role, token in family.roles.items()}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=WINDOW, **roles
    ).save_pretrained(folder)
    config = configuration(model_type)
    config.vocab_size = tokenizer.get_vocab_size()
    if model_type == "mamba2":  # which is slow without its kernels
        config.num_hidden_layers = 1
    if hasattr(config, "max_position_embeddings"):
        config.max_position_embeddings = WINDOW
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def own(folder: Path, name: str, splits: dict[str, int]) -> list[Artifact]:
    """Returns the kit's own scores of its own task, a split each."""
    bench, made = Bench(), []
    for split, n in splits.items():
        run = Run(kit.Variant(f"hf:{folder}"), ScoreChoices(Ref(name), split=split, limit=n))
        raw = bench.measure(run)
        made.append(Artifact(run, f"{name}-{split}", raw.kind, raw.columns, raw.info))
    return made


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_choices_and_metrics_are_the_librarys(
    model_type: str, asked: dict[str, Asked], tmp_path: Path
) -> None:
    texts = [json.dumps(doc) for each in asked.values() for doc in each.task.eval_docs]
    folder = save_model(tmp_path / model_type, model_type, texts)
    theirs = HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=64, max_length=WINDOW
    )
    for name, each in asked.items():
        results, logged = run_task(theirs, each.task, range(ITEMS))
        by_place = {sample["doc_id"]: sample for sample in logged}
        right: dict[str, list[bool]] = {"acc": [], "acc_norm": []}
        for artifact in own(folder, name, each.splits):
            columns = artifact.columns
            for metric, hits in right.items():
                function = registry.metrics.get(metric).function
                read = ("loglikelihood", "choices", "label", *["bytes"] * (metric == "acc_norm"))
                hits.extend(function(**{key: columns[key] for key in read}).tolist())
            for k, item in enumerate(columns["item"]):
                answers = by_place[each.places[item]]["filtered_resps"]
                there = columns["loglikelihood"][k, : columns["choices"][k]]
                expected = np.array([value for value, _ in answers])
                np.testing.assert_allclose(there, expected, atol=1e-3)
                assert there.argmax() == expected.argmax(), (name, item)
                assert columns["greedy"][k, : len(answers)].tolist() == [g for _, g in answers]
        assert len(right["acc"]) == ITEMS
        for metric, measure in (("acc", "acc,none"), ("acc_norm", "acc_bytes,none")):
            assert np.mean(right[metric]) == pytest.approx(results[measure], rel=1e-12)
