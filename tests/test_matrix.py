"""Every architecture on every way to run it answers as transformers does, or a sentence says why
not.

The usual run takes a few architectures; `KIT_MATRIX=full` takes the whole table of `tiny_models`
and prints what came out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployed import answers, likelihoods, load, quiet, rounded, save, texts
from tiny_models import LABELS, MODELS, Head, has

import kit
from kit import registry, tasks
from kit.measurements.quality import quality
from kit.runner import Runner
from kit.spec import Ref, SpecError, Undefined, Variant
from kit.verify import verify

FULL = os.environ.get("KIT_MATRIX") == "full"
SHORT = ("bert", "roberta", "deberta-v2", "xlnet", "fnet", "t5", "gpt2", "mixtral")
SHORT_GRAPHS = ("bert", "gpt2")
SHORT_CAUSAL = ("gpt2", "llama", "mamba")

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

WITHOUT_GRAPH = {
    "canine": "the length of the example becomes the graph's",
}
"""What cannot be exported, or gives a graph that cannot run."""

WINDOW = 48
"""Tokens at which the matrix's tokenizers cut; the longest texts have more."""

Found = dict[tuple[str, str], dict[tuple[str, int], str]]


def cases(head: Head) -> list[Any]:
    """Returns the architectures and ways that this run takes."""
    short = SHORT_CAUSAL if head == "causal" else (*SHORT, *SHORT_GRAPHS)
    graphs = SHORT_CAUSAL[:1] if head == "causal" else SHORT_GRAPHS
    return [
        (name, way)
        for name in MODELS
        for way in WAYS
        if has(name, head) and (FULL or name in (graphs if WAYS[way][0] == "onnx" else short))
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
    made: dict[tuple[str, Head], Path] = {}
    place = tmp_path_factory.mktemp("models")

    def folder(name: str, head: Head) -> Path:
        if (name, head) not in made:
            made[name, head] = save(name, place / head / name, head, model_max_length=WINDOW)
        return made[name, head]

    return folder


@pytest.fixture(scope="module", autouse=True)
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    """Collects what came out; prints it where everything was tried."""
    outcomes: Found = {}
    yield outcomes
    if FULL:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\n" + table(outcomes))


def table(outcomes: Found) -> str:
    """Returns a line an architecture and head: a cell a way and batch size."""
    columns = [(way, size) for way in WAYS for size in BATCHES]
    lines = ["| model | head | " + " | ".join(f"{way} {size}" for way, size in columns) + " |"]
    lines.append("|" + " --- |" * (len(columns) + 2))
    for (name, head), cells in outcomes.items():
        said = " | ".join(cells.get(column, "") for column in columns)
        lines.append(f"| {name} | {head} | {said} |")
    return "\n".join(lines)


def variant(folder: Path, way: str) -> Variant:
    runtime, schemes = WAYS[way]
    return Variant(f"hf:{folder}", runtime=runtime, schemes=schemes, name="tried")


def tolerance(way: str) -> float:
    """Returns the share of the largest output by which a way may differ from its reference."""
    exact = way != "dynamic_int8"
    return 1e-3 if exact else float(registry.schemes.get(way).traits["tolerance"])


def outcome(tried: Variant, task: Ref, size: int, ask: Callable[[Runner], np.ndarray]) -> Any:
    """Returns kit's numbers, or the sentence with which it gives none."""
    try:
        with quiet():
            runner = Runner(tried, 1, task)
            verify(tried, task, 1, size, runner)
            return ask(runner)
    except (Undefined, SpecError) as error:
        return str(error)


def check(numbers: Any, expected: np.ndarray, way: str, refused: str) -> str:
    """Checks an outcome and returns it for the table.

    Args:
        numbers: kit's, or its sentence.
        expected: the reference's.
        way: a name in `WAYS`.
        refused: why kit has to refuse; empty where it has to answer.
    """
    if isinstance(numbers, str):
        assert is_clean(numbers), numbers
        assert refused or way == "dynamic_int8", numbers
        return numbers.replace("|", "/")
    assert not refused, f"expected a refusal: {refused}"
    assert numbers.shape == expected.shape
    difference = np.abs(numbers - expected).max() / np.abs(expected).max()
    assert difference <= tolerance(way), difference
    return "equal" if difference <= 1e-3 else f"within {difference:.2g}"


def is_clean(sentence: str) -> bool:
    """Says whether a user can read it: one line, no colours, no path of this machine."""
    return len(sentence) < 400 and not re.search(r"[\x00-\x1f]|(?<!\S)/\w+/|File \"", sentence)


@pytest.mark.parametrize(("name", "way"), cases("classifier"))
def test_a_classifier_answers_as_transformers_does_or_says_why_not(
    name: str, way: str, folders: Any, given: list[str], labelled: Ref, found: Found
) -> None:
    folder = folders(name, "classifier")
    model = rounded(load(folder)[1]) if way == "w4" else None
    expected = answers(folder, given, model)[:, ::-1]
    for size in BATCHES:
        numbers = outcome(
            variant(folder, way),
            labelled,
            size,
            lambda runner, size=size: runner.predict(given, size),  # type: ignore[misc]
        )
        said = check(numbers, expected, way, refusal(name, way, size))
        found.setdefault((name, "classifier"), {})[way, size] = said


def refusal(name: str, way: str, size: int) -> str:
    """Returns why kit has to refuse, empty where it has to answer."""
    if size > 1 and name in UNLIKE_ALONE:
        return "padding takes part in its answer"
    return WITHOUT_GRAPH.get(name, "") if WAYS[way][0] == "onnx" else ""


@pytest.mark.parametrize(("name", "way"), cases("causal"))
def test_a_language_model_gives_the_likelihoods_of_transformers_or_says_why_not(
    name: str, way: str, folders: Any, prose: Ref, found: Found
) -> None:
    folder = folders(name, "causal")
    data = tasks.load(prose)
    documents = data.examples(data.split("test"))
    model = rounded(load(folder, "causal")[1]) if way == "w4" else None
    expected = -np.array([each.sum() for each in likelihoods(folder, documents, model)])
    for size in BATCHES:
        numbers = outcome(
            variant(folder, way),
            prose,
            size,
            lambda runner, size=size: np.asarray(  # type: ignore[misc]
                quality(runner, task=prose, batch_size=size).columns["nll"]
            ),
        )
        said = check(numbers, expected, way, refusal(name, way, 1))
        found.setdefault((name, "causal"), {})[way, size] = said
