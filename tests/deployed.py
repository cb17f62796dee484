"""Tiny random models as `save_pretrained` writes them, and what transformers itself says of texts.

`save` makes the folder of an entry of `tiny_models.MODELS`; `answers` and `likelihoods` are the
reference that kit is held against: transformers' tokenizer and model, one text at a time, nothing
padded.
"""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from reading import save_tokenizer
from tiny_models import LABELS, MODELS, WORDS, Head, configuration

SEEDS = 40
"""Tried for weights with which a classifier answers every label of some texts."""


def save(name: str, folder: Path, head: Head = "classifier", **tokenizer: Any) -> Path:
    """Saves an architecture's random model and its tokenizer; returns the folder.

    Args:
        name: an entry of `MODELS`.
        folder: is made.
        head: what the model does.
        tokenizer: settings of `tokenizer_config.json`, such as `model_max_length`.

    Raises:
        RuntimeError: no seed gives a classifier that answers both labels.
    """
    config = configuration(name)
    entry = MODELS[name]
    types = getattr(config, "type_vocab_size", 0) > 1 or entry.reading in ("xlnet", "funnel")
    names = ["input_ids", *["token_type_ids"] * types, "attention_mask"]
    save_tokenizer(folder, WORDS, entry.reading, **{"model_input_names": names, **tokenizer})
    given = texts(20)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        with quiet():
            _loader(head).from_config(config).save_pretrained(folder)
        if head == "causal":
            return folder
        said = answers(folder, given).argmax(axis=1)
        if min(np.bincount(said, minlength=len(LABELS))) >= len(given) // 5:
            return folder
    raise RuntimeError(f"{name} answers one label alone with {SEEDS} seeds")


def _loader(head: Head) -> Any:
    names = {"classifier": "AutoModelForSequenceClassification", "causal": "AutoModelForCausalLM"}
    return getattr(transformers, names[head])


def texts(count: int = 40, least: int = 3, most: int = 30, seed: int = 1) -> list[str]:
    """Returns random sentences of very different lengths."""
    draw = random.Random(seed)
    lengths = [draw.randint(least, most) for _ in range(count)]
    return [" ".join(draw.choice(WORDS) for _ in range(length)) for length in lengths]


def load(folder: Path, head: Head = "classifier") -> tuple[Any, Any]:
    """Returns transformers' own tokenizer and model of a folder, in fp32."""
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = _loader(head).from_pretrained(folder, dtype=torch.float32).eval()
    return tokenizer, model


def answers(folder: Path, given: Sequence[Any], model: Any = None) -> np.ndarray:
    """Returns transformers' logits [n, labels] of each text alone: cut as it cuts, not padded.

    Args:
        folder: of the model.
        given: texts, or pairs of texts.
        model: one changed by hand, in place of the folder's own.
    """
    tokenizer, own = load(folder)
    return np.concatenate([_logits(model or own, tokenizer, each) for each in given])


def _logits(model: Any, tokenizer: Any, text: Any) -> np.ndarray:
    parts = text if isinstance(text, tuple) else (text,)
    inputs = tokenizer(*parts, truncation=True, return_tensors="pt")
    with torch.no_grad(), quiet():
        return np.asarray(model(**inputs).logits.float().numpy())


def likelihoods(folder: Path, given: Sequence[str], model: Any = None) -> list[np.ndarray]:
    """Returns transformers' log-likelihood of each token of each text alone.

    The begin token, else the end token, stands before a text's own tokens.
    """
    tokenizer, own = load(folder, "causal")
    found = []
    for text in given:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        row = torch.tensor([[first, *ids]])
        with torch.no_grad(), quiet():
            scores = (model or own)(input_ids=row, use_cache=False).logits[0].double()
        logs = torch.log_softmax(scores[:-1], dim=-1)
        found.append(logs[torch.arange(len(ids)), row[0, 1:]].numpy())
    return found


def int8(graph: Path, output: Path, folder: Path, given: Sequence[str]) -> np.ndarray:
    """Returns the logits [n, labels] of each text alone, by ONNX Runtime and its own quantizer.

    Args:
        graph: exported, in fp32.
        output: where its int8 form is written.
        folder: of the tokenizer.
        given: texts.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(graph, output, per_channel=True, weight_type=QuantType.QInt8)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    rows = []
    for text in given:
        inputs = tokenizer(text, truncation=True, return_tensors="np")
        rows.append(session.run(None, {name: inputs[name] for name in names})[0])
    return np.concatenate(rows)


OUTPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(["Linear", "Conv1d", "Conv2d", "QuantLinear"], {"weight": (0,)}),
    "Conv1D": {"weight": (1,)},
    "GptOssExperts": {"gate_up_proj": (0, 2), "down_proj": (0, 2)},
    "JetMoeParallelExperts": {"weight": (0, 1)},
    "XLNetRelativeAttention": {**dict.fromkeys("qkvr", (1, 2)), "o": (0,)},
    "FunnelRelMultiheadAttention": {"r_kernel": (1, 2)},
}
"""By class, the matrices of a layer and the dimensions that count their outputs (and experts)."""
EXPERTS = {"gate_up_proj": (0, 1), "down_proj": (0, 1)}
ROUTER = {"weight": (0,)}


def rounded(model: Any, bits: int = 4) -> Any:
    """Returns a copy whose matrices are rounded, one output after another as the formula says.

    Each output's weights have the scale absmax / (2^(bits - 1) - 1). Embeddings, and what shares
    their weights, stay.
    """
    copied = copy.deepcopy(model)
    parts = list(copied.modules())
    seen = {id(part.weight) for part in parts if isinstance(part, torch.nn.Embedding)}
    levels = 2 ** (bits - 1) - 1
    for part in parts:
        for name, outputs in _outputs(type(part)).items():
            weight = getattr(part, name)
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            ordered = weight.detach().movedim(outputs, tuple(range(len(outputs))))
            for place in np.ndindex(*ordered.shape[: len(outputs)]):
                scale = ordered[place].abs().max().clamp(min=1e-12) / levels
                ordered[place] = (ordered[place] / scale).round() * scale
    return copied


def _outputs(kind: type) -> dict[str, tuple[int, ...]]:
    known = [OUTPUTS[each.__name__] for each in kind.__mro__ if each.__name__ in OUTPUTS]
    usual = [EXPERTS] * kind.__name__.endswith("Experts") + [ROUTER] * kind.__name__.endswith(
        "Router"
    )
    return next(iter(known + usual), {})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides what transformers says of formats and missing kernels while it loads and runs."""
    logging = transformers.utils.logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
