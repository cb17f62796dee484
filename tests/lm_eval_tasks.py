"""Tasks of lm-evaluation-harness for tests: YAML files with their documents beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from reading import save_tokenizer

WORDS = [f"w{k}" for k in range(80)]


def save_llama(folder: Path) -> Path:
    """Returns the folder of a tiny random Llama whose tokenizer puts a token before each text."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    save_tokenizer(folder, WORDS, "llama", model_max_length=40)
    config = LlamaConfig(
        vocab_size=84, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=40,
        bos_token_id=1, eos_token_id=2, pad_token_id=3, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_task(
    folder: Path, name: str, documents: Sequence[Mapping[str, Any]], **config: Any
) -> Path:
    """Returns the path of a YAML file, after it and its documents are written."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in documents), encoding="utf-8")
    known = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        **config,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(known), encoding="utf-8")
    return path


def write_tasks(folder: Path, n: int = 40) -> dict[str, Path]:
    """Returns the YAML file of a task of each output type, of random words."""
    rng = np.random.default_rng(0)

    def some(low: int, high: int) -> str:
        return " ".join(WORDS[k] for k in rng.integers(0, len(WORDS), int(rng.integers(low, high))))

    quiz = [
        {"question": some(2, 9), "offer": [f"{some(1, 4)} w{k}" for k in range(3)], "key": k % 3}
        for k in range(n)
    ]
    quiz[1] = quiz[0]  # no document is left out
    ends = [{"text": some(3, 9), "end": some(1, 2)} for _ in range(n)]
    pages = [{"text": some(5, 60)} for _ in range(n // 2)]
    asked = [{"text": some(2, 6), "said": some(1, 3)} for _ in range(n // 4)]
    measured = {"aggregation": "mean", "higher_is_better": True}
    return {
        "multiple_choice": write_task(
            folder, "tiny_quiz", quiz, output_type="multiple_choice",
            doc_to_text="Q {{question}} A", doc_to_choice="offer", doc_to_target="key",
            num_fewshot=1, fewshot_config={"sampler": "first_n"},
            metric_list=[
                *({"metric": each, **measured} for each in ("acc", "acc_norm", "acc_bytes")),
                {"metric": "mcc", "aggregation": "matthews_corrcoef", "higher_is_better": True},
                {"metric": "acc_mutual_info", **measured},
            ],
        ),
        "loglikelihood": write_task(
            folder, "tiny_ends", ends, output_type="loglikelihood",
            doc_to_text="text", doc_to_target=" {{end}}",
            metric_list=[
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                {"metric": "acc", **measured},
            ],
        ),
        "loglikelihood_rolling": write_task(
            folder, "tiny_pages", pages, output_type="loglikelihood_rolling",
            doc_to_text="", doc_to_target="text",
            metric_list=[{"metric": each} for each in
                         ("word_perplexity", "byte_perplexity", "bits_per_byte")],
        ),
        "generate_until": write_task(
            folder, "tiny_asked", asked, output_type="generate_until",
            doc_to_text="{{text}}", doc_to_target="{{said}}",
            generation_kwargs={"until": ["w7"], "max_gen_toks": 6, "do_sample": False},
            filter_list=[
                {"name": "raw", "filter": [{"function": "take_first"}]},
                {"name": "first", "filter": [
                    {"function": "regex", "regex_pattern": r"(w\d+)"}, {"function": "take_first"},
                ]},
            ],
            metric_list=[
                {"metric": "exact_match", **measured, "ignore_case": True},
                {"metric": "chrf", "aggregation": "chrf", "higher_is_better": True},
            ],
        ),
    }  # fmt: skip
