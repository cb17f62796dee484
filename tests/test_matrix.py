"""Every architecture, however it is run, answers as transformers does; or a sentence says why not.

The usual run takes a few architectures; `KIT_MATRIX=full` takes the whole table of `tiny_models`
and prints what came out.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployed import answers, int8, likelihoods, load, quiet, rounded, save, texts
from helpers import measure
from tiny_models import LABELS, MODELS, Head, has

import kit
from kit import tasks
from kit.build.runner import Runner
from kit.build.steps import steps
from kit.build.verify import verify
from kit.measurements import Quality
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant

FULL = os.environ.get("KIT_MATRIX") == "full"
SHORT = ("bert", "roberta", "deberta-v2", "xlnet", "fnet", "t5", "gpt2", "mixtral")
SHORT_GRAPHS = ("bert", "xlnet", "gpt2", "mixtral")
SHORT_CAUSAL = ("gpt2", "llama", "mamba")
CAUSAL_GRAPHS = ("gpt2", "llama", "mamba", "mamba2", "olmoe", "rwkv")
"""Whose language model is exported too; the others' body is in their classifier's graph."""

WAYS: dict[str, tuple[str, list[str]]] = {
    "eager": ("eager", []),
    "w4": ("eager", ["w4"]),
    "onnx": ("onnx", []),
    "dynamic_int8": ("onnx", ["dynamic_int8"]),
}
BATCHES = (1, 32)

UNLIKE_ALONE = ("canine", "convbert", "fnet", "nystromformer", "reformer", "yoso")
"""Whose padding takes part in the answer, whatever the mask says: a batch is not each text alone.
They mix positions without a mask: a Fourier transform, convolutions, hashes."""

WITHOUT_GRAPH = (
    *("canine", "funnel", "jamba", "mamba", "rwkv"),  # its length is the example's
    *("qwen3_5_text", "qwen3_next"),  # the same
    *("longformer", "reformer", "minimax"),  # shapes that depend on the data
    *("mbart", "plbart"),  # a batch of one fails
    *("deepseek_v2", "falcon_alibi"),  # complex numbers; an operation in bfloat16
    "xlnet",  # a float less an integer
    "mamba2",  # multiples of its chunk alone
)
"""What cannot be exported, or gives a graph that takes no other inputs."""

WITHOUT_GRAPH_OF_BATCHES = ("helium",)
"""Whose graph gives NaN where there is padding (in fp32: quantized it is computed otherwise)."""

WINDOW = 48
"""Tokens at which the matrix's tokenizers cut; the longest texts have more."""

CLOSE = 1e-3
"""Share of the largest number by which kernels and batches may differ."""

Found = dict[tuple[str, str], dict[tuple[str, int], str]]


def cases(head: Head) -> list[tuple[str, str]]:
    """Returns the architectures and ways that this run takes."""
    causal = head == "causal"
    short = SHORT_CAUSAL if causal else SHORT
    graphs = SHORT_GRAPHS
    if FULL:
        graphs = CAUSAL_GRAPHS if causal else tuple(MODELS)
    return [
        (name, way)
        for name in MODELS
        for way, (runtime, schemes) in WAYS.items()
        if has(name, head)
        and (FULL or name in short)
        and (runtime != "onnx" or name in graphs)
        and not (runtime == "onnx" and schemes and (causal or name in WITHOUT_GRAPH))
    ]


@pytest.fixture(scope="module")
def given() -> list[str]:
    return texts(40, 3, 60)


@pytest.fixture(scope="module")
def labelled(given: list[str]) -> Ref:
    """A task of the texts; its labels are in another order than the models'."""
    import pandas as pd

    label = [LABELS[number % 2] for number in range(len(given))]
    frame = pd.DataFrame({"text": given, "label": label})
    return kit.task_from_frame("matrix", frame, validation=0, test=1.0)


@pytest.fixture(scope="module")
def prose(given: list[str]) -> Ref:
    return kit.task_from_text("matrix_prose", given, validation=0.05, test=0.8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Head], Path]:
    """Makes each architecture's folder once."""
    place = tmp_path_factory.mktemp("models")

    @functools.cache
    def folder(name: str, head: Head) -> Path:
        return save(name, place / head / name, head, model_max_length=WINDOW)

    return folder


@pytest.fixture(scope="module", autouse=True)
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    """Collects what came out; prints it where everything was tried."""
    collected: Found = {}
    yield collected
    if FULL:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\n" + table(collected))


def table(collected: Found) -> str:
    """Returns a line an architecture and head: a cell a way and batch size."""
    columns = [(way, size) for way in WAYS for size in BATCHES]
    lines = ["| model | head | " + " | ".join(f"{way} {size}" for way, size in columns) + " |"]
    lines.append("|" + " --- |" * (len(columns) + 2))
    for (name, head), cells in collected.items():
        said = " | ".join(cells.get(column, "") for column in columns)
        lines.append(f"| {name} | {head} | {said} |")
    return "\n".join(lines)


def variant(folder: Path, way: str) -> Variant:
    runtime, schemes = WAYS[way]
    return Variant(f"hf:{folder}", runtime=runtime, schemes=schemes, name="tried")


def outcomes(tried: Variant, task: Ref, ask: Callable[[Runner, int], np.ndarray]) -> Sequence[Any]:
    """Returns kit's numbers at each batch size, or the sentence with which it gives none."""
    collected: list[Any] = []
    try:
        with quiet():
            runner = Runner(tried, 1, task)
    except (Undefined, SpecError) as error:
        return [str(error)] * len(BATCHES)
    for size in BATCHES:
        try:
            with quiet():
                verify(tried, task, 1, size, runner)
                collected.append(ask(runner, size))
        except (Undefined, SpecError) as error:
            collected.append(str(error))
    return collected


def refuses(name: str, way: str, size: int) -> bool:
    """Says whether kit has to refuse a classifier."""
    if WAYS[way][0] == "onnx" and name in WITHOUT_GRAPH:
        return True
    batches = UNLIKE_ALONE + WITHOUT_GRAPH_OF_BATCHES * (way == "onnx")
    return size > 1 and name in batches


def check(numbers: Any, expected: np.ndarray, refused: bool) -> str:
    """Checks an outcome, numbers or a sentence, and returns what the table says of it."""
    if isinstance(numbers, str):
        assert is_clean(numbers), numbers
        assert refused, numbers
        return numbers.replace("|", "/")
    assert not refused, "kit has to refuse this"
    assert numbers.shape == expected.shape
    assert np.abs(numbers - expected).max() <= CLOSE * np.abs(expected).max()
    return "equal"


def is_clean(sentence: str) -> bool:
    """Says whether a user can read it: one line, no colours, no path of a machine."""
    return len(sentence) < 400 and not re.search(r"[\x00-\x1f]|(?<!\S)/\w+/", sentence)


def predictions(given: list[str]) -> Callable[[Runner, int], np.ndarray]:
    return lambda runner, size: runner.predict(given, size)


@pytest.mark.parametrize(
    ("name", "way"), [case for case in cases("classifier") if case[1] != "dynamic_int8"]
)
def test_a_classifier_answers_as_transformers_does_or_says_why_not(
    name: str, way: str, folders: Any, given: list[str], labelled: Ref, found: Found
) -> None:
    folder = folders(name, "classifier")
    model = rounded(load(folder)[1]) if way == "w4" else None
    expected = answers(folder, given, model)[:, ::-1]
    said = found.setdefault((name, "classifier"), {})
    numbers = outcomes(variant(folder, way), labelled, predictions(given))
    for size, each in zip(BATCHES, numbers, strict=True):
        said[way, size] = check(each, expected, refuses(name, way, size))


@pytest.mark.parametrize(
    "name", [name for name, way in cases("classifier") if way == "dynamic_int8"]
)
def test_an_int8_graph_answers_as_one_made_by_hand_or_is_refused(
    name: str, folders: Any, given: list[str], labelled: Ref, found: Found, tmp_path: Path
) -> None:
    """One text at a time it is exact; in batches activations share a scale, so most are close."""
    folder = folders(name, "classifier")
    graph = steps(variant(folder, "onnx"))[-1].load()
    alone = int8(graph, tmp_path / "int8.onnx", folder, given)[:, ::-1]
    exact = answers(folder, given)[:, ::-1]
    said = found.setdefault((name, "classifier"), {})
    numbers = outcomes(variant(folder, "dynamic_int8"), labelled, predictions(given))
    for size, each in zip(BATCHES, numbers, strict=True):
        if isinstance(each, str):
            assert is_clean(each), each
            lossy = "differs from eager" in each
            assert lossy or refuses(name, "dynamic_int8", size), each
            said["dynamic_int8", size] = each
        elif size == 1:
            said["dynamic_int8", size] = check(each, alone, refused=False)
        else:
            gap = np.abs(each - exact).max(axis=1) / np.abs(exact).max()
            assert not refuses(name, "dynamic_int8", size)
            assert np.median(gap) <= 0.25
            said["dynamic_int8", size] = f"median {np.median(gap):.2g}, most {gap.max():.2g}"


@pytest.mark.parametrize(("name", "way"), cases("causal"))
def test_a_language_model_gives_the_likelihoods_of_transformers_or_says_why_not(
    name: str, way: str, folders: Any, prose: Ref, found: Found
) -> None:
    folder = folders(name, "causal")
    data = tasks.load(prose)
    documents = data.examples(data.split("test"))
    model = rounded(load(folder, "causal")[1]) if way == "w4" else None
    expected = -np.array([each.sum() for each in likelihoods(folder, documents, model)])
    said = found.setdefault((name, "causal"), {})
    numbers = outcomes(
        variant(folder, way),
        prose,
        lambda runner, size: np.asarray(
            measure(runner, Quality(prose, limit=len(documents), batch_size=size)).columns["nll"]
        ),
    )
    for size, each in zip(BATCHES, numbers, strict=True):
        refused = WAYS[way][0] == "onnx" and name in WITHOUT_GRAPH
        said[way, size] = check(each, expected, refused)
