"""What every registered thing must hold, checked at tiny size: in a notebook and by the tests."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kit import registry, tasks
from kit.spec import Ref, Run, SpecError, Variant
from kit.store import Artifact

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDTHS = (32, 16, 64, 48, 128)
SAMPLES = 12


class Check(NamedTuple):
    """One contract test: what was checked, whether it held, and what was seen if not."""

    check: str
    passed: bool
    message: str = ""


Test = tuple[str, Callable[[], object]]


def check(name: str) -> list[Check]:
    """Runs the contract tests of whatever is registered under a name.

    Args:
        name: a registered name; `schemes/round` where two kinds share one.

    Returns:
        One `Check` a contract; a test that raises is a failed check with the error's sentence.

    Raises:
        SpecError: no such name, or two kinds have it.
    """
    kind, _, bare = name.rpartition("/")
    kinds = [kind] if kind else [k for k, r in registry.REGISTRIES.items() if bare in r.names()]
    if kind and kind not in registry.REGISTRIES:
        raise SpecError(registry.suggest(kind, registry.REGISTRIES, "kind"))
    if len(kinds) > 1:
        options = " or ".join(f"{kind}/{bare}" for kind in kinds)
        raise SpecError(f"{bare!r} is registered twice: say {options}")
    if not kinds:
        known = [n for r in registry.REGISTRIES.values() for n in r.names()]
        raise SpecError(registry.suggest(bare, known, "name"))
    entry = registry.REGISTRIES[kinds[0]].get(bare)
    return [_run(what, test) for what, test in _TESTS[kinds[0]](entry)]


def _run(what: str, test: Callable[[], object]) -> Check:
    try:
        said = test()
    except Exception as error:
        return Check(what, False, f"{type(error).__name__}: {error}")
    return Check(what, said is None or said is True, "" if said in (None, True) else str(said))


def _architecture(entry: registry.Entry) -> Iterator[Test]:
    kind = entry.traits["kind"]
    if kind == "pretrained":
        yield "needs a saved model", lambda: None
        return
    if kind == "predictor":
        yield from _predictor(entry)
        return
    from torch.nn.functional import pad

    from kit.architectures.causality import peeks_ahead
    from kit.architectures.model import logits, make_model

    ref, task = _sized(entry), _stand_in()
    make = partial(make_model, ref, task, seed=0, fit=False)
    model = make()
    assert model.tokenizer is not None
    size = model.tokenizer.vocab_size
    inputs = _inputs(model.kind, size)
    if entry.traits.get("fitted"):
        model.module.fit([[0, *range(1, 60)] * 3])
    model.module.eval()

    def shape() -> str | None:
        expected = (2, 9, size) if model.kind == "causal" else (2, len(task.labels))
        found = tuple(_forward(model.module, inputs).shape)
        return None if found == expected else f"expected {expected}, got {found}"

    def deterministic() -> bool:
        states = [make().module.state_dict() for _ in range(2)]
        return all(bool((states[0][key] == states[1][key]).all()) for key in states[0])

    def round_trip() -> bool:
        other = make_model(ref, task, seed=1, fit=False).module
        other.load_state_dict(model.module.state_dict())
        return _close(_forward(other.eval(), inputs), _forward(model.module, inputs))

    def padding() -> bool:
        padded = {name: pad(values, (0, 4)) for name, values in inputs.items()}
        full = _forward(model.module, padded)
        return _close(
            full[:, :9] if model.kind == "causal" else full, _forward(model.module, inputs)
        )

    def gradients() -> str | None:
        trained = make().module.train()
        logits(trained(**inputs)).square().mean().backward()  # type: ignore[no-untyped-call]
        silent = [n for n, p in trained.named_parameters() if p.requires_grad and p.grad is None]
        return f"no gradient reaches {', '.join(silent)}" if silent else None

    yield "returns the right shape", shape
    yield "the same seed gives the same weights", deterministic
    yield "weights survive saving and loading", round_trip
    yield "padding does not leak", padding
    if not entry.traits.get("fitted"):
        yield "a gradient reaches every parameter", gradients
    if model.kind == "causal":
        yield "never looks ahead", lambda: peeks_ahead(model.module, size)


def _predictor(entry: registry.Entry) -> Iterator[Test]:
    from kit.architectures.model import make_model

    model = make_model(Ref(entry.name), _stand_in(), seed=0)
    texts = ["fine", "", "awful " * 50, "🙂"]
    scores = np.asarray(model.module(texts))
    yield "scores every text for every class", lambda: scores.shape == (4, 2)
    yield "scores are finite", lambda: bool(np.isfinite(scores).all())
    yield "the same text, the same score", lambda: np.array_equal(scores, model.module(texts))


def _scheme(entry: registry.Entry) -> Iterator[Test]:
    stage = entry.traits["stage"]
    if stage == "exported":
        yield "gives a graph and leaves the old one", lambda: _graph_scheme(entry)
        return
    import torch

    module = _tiny_causal()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    made = entry.function(module, **registry.schemes.canonical(entry.name).args)
    runs_eagerly = not entry.traits["runtimes"] or "eager" in entry.traits["runtimes"]

    def untouched() -> bool:
        after = module.state_dict()
        return all(torch.equal(before[key], after[key]) for key in before)

    def finite() -> bool:
        output = _forward(made, _inputs("causal", 256))
        return bool(output.isfinite().all()) and output.shape == (2, 9, 256)

    yield "returns a new model", lambda: made is not module
    yield "leaves the old model bit-equal", untouched
    if runs_eagerly:
        yield "output is finite and of the same shape", finite


def _graph_scheme(entry: registry.Entry) -> str | None:
    from kit.runtimes.onnx import export, onnx

    with tempfile.TemporaryDirectory() as folder:
        graph, output = Path(folder) / "model.onnx", Path(folder) / "made.onnx"
        export(_tiny_causal(), _inputs("causal", 256), graph)
        before = graph.read_bytes()
        entry.function(graph, output, **registry.schemes.canonical(entry.name).args)
        if graph.read_bytes() != before:
            return "the old graph was changed"
        found = onnx(output, 1)(_inputs("causal", 256))
        return None if np.isfinite(found).all() else "its output is not finite"


def _runtime(entry: registry.Entry) -> Iterator[Test]:
    from kit.runtimes.eager import eager
    from kit.runtimes.onnx import export

    def agrees(kind: str) -> str | None:
        module = _tiny_causal() if kind == "causal" else _tiny_classifier()
        expected = eager(module)
        args = registry.runtimes.canonical(entry.name).args
        with tempfile.TemporaryDirectory() as folder:
            if entry.traits["form"] == "graph":
                path = Path(folder) / "model.onnx"
                export(module, _inputs(kind, 256), path)
                forward = entry.function(path, **_threads(entry), **args)
            else:
                forward = entry.function(module, **_threads(entry), **args)
            for rows, length in ((2, 9), (1, 5), (3, 17)):
                inputs = _inputs(kind, 256, rows, length)
                gap = np.abs(np.asarray(forward(inputs)) - expected(inputs).numpy()).max()
                if not gap < 1e-3:
                    return f"differs from eager by {gap:.2g} at [{rows}, {length}]"
        return None

    for kind in ("causal", "classifier"):
        yield f"agrees with eager: {kind}", partial(agrees, kind)


def _threads(entry: registry.Entry) -> dict[str, int]:
    import inspect

    return {"threads": 1} if "threads" in inspect.signature(entry.function).parameters else {}


def _task(entry: registry.Entry) -> Iterator[Test]:
    try:
        ref = registry.tasks.canonical(entry.name)
    except SpecError as error:
        yield "its arguments have defaults", partial(_fails, error)
        return
    about = tasks.describe(ref)
    data = tasks.load(ref)

    def disjoint() -> str | None:
        seen: dict[str, str] = {}
        for split in data.data:
            for item in data.split(split)["id"]:
                if item in seen:
                    return f"item {item} is in {seen[item]} and {split}"
                seen[item] = split
        return None

    yield "no split is empty", lambda: all(about["sizes"].values())
    yield "no item is in two splits", disjoint
    yield (
        "limit takes the first by content hash",
        lambda: list(data.split("test", 3)["id"]) == sorted(data.split("test")["id"])[:3],
    )
    yield "loads the same again", lambda: tasks.describe(ref) == about


def _fails(error: Exception) -> None:
    raise error


def _measurement(entry: registry.Entry) -> Iterator[Test]:
    traits = entry.traits
    yield "says where it runs", lambda: traits["where"] in ("worker", "fresh", "driver")
    yield "says what it saves", lambda: bool(traits["artifacts"])
    known = {registry.metrics.get(name).traits["artifact"] for name in registry.metrics.names()}
    known.add("features")  # read by a distance between splits, not by a metric of one run
    yield "a metric reads what it saves", lambda: bool(known & set(traits["artifacts"]))


def _metric(entry: registry.Entry) -> Iterator[Test]:
    from kit.analysis.score import score

    artifact = _artifact(entry.traits["artifact"], entry)

    def rows(order: Any = None) -> list[Any]:
        columns = artifact.columns
        if order is not None:
            columns = {key: values[order] for key, values in columns.items()}
        made = Artifact(artifact.run, artifact.run_id, artifact.kind, columns, artifact.info)
        return [row for row in score(made, [entry.name]) if not row["group"]]

    def value() -> str | None:
        found = rows()
        bad = [row["note"] for row in found if row["status"] == "error"]
        return bad[0] if bad else (None if found else "it gave no row")

    def pure() -> bool:
        before = {key: values.copy() for key, values in artifact.columns.items()}
        rows()
        return all(np.array_equal(before[key], artifact.columns[key]) for key in before)

    def order_free() -> bool:
        if artifact.kind in ("memory", "cost", "timing"):
            return True
        order = np.arange(SAMPLES)[::-1]
        pairs = zip(rows(), rows(order), strict=True)
        return all(np.isclose(a["value"], b["value"], equal_nan=True) for a, b in pairs)

    yield "gives a value", value
    yield "leaves its inputs alone", pure
    yield "the order of the items does not matter", order_free


_TESTS: dict[str, Callable[[registry.Entry], Iterator[Test]]] = {
    "architectures": _architecture,
    "schemes": _scheme,
    "runtimes": _runtime,
    "tasks": _task,
    "measurements": _measurement,
    "metrics": _metric,
}


class _Classes:
    """As much of a task as a model is made from: labels, and texts to fit on."""

    labels = ("negative", "positive")
    ref = Ref("check")

    def split(self, name: str, limit: int | None = None) -> Any:
        import datasets

        del name, limit
        return datasets.Dataset.from_dict({"text": ["bad", "good", "fine"], "label": [0, 1, 1]})


def _stand_in() -> Any:
    return _Classes()


def _sized(entry: registry.Entry) -> Ref:
    """Returns a Ref at the smallest of a few widths that the architecture can be built at."""
    from kit.architectures.model import make_model

    ref = registry.architectures.canonical(entry.name)
    if "width" not in entry.function.__code__.co_varnames[: entry.function.__code__.co_argcount]:
        return ref
    failure: Exception | None = None
    for width in WIDTHS:
        try:
            make_model(ref.replace(width=width), _stand_in(), seed=0, fit=False)
            return ref.replace(width=width)
        except SpecError as error:
            failure = error
    raise failure or SpecError(f"{entry.name} cannot be built")


def _inputs(kind: str, size: int, rows: int = 2, length: int = 9) -> dict[str, Tensor]:
    import torch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, size, (rows, length), generator=generator)
    return {"input_ids": ids} | (
        {"attention_mask": torch.ones_like(ids)} if kind != "causal" else {}
    )


def _forward(module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    import torch

    from kit.architectures.model import logits

    with torch.no_grad():
        return logits(module(**inputs)).float()


def _close(a: Tensor, b: Tensor) -> bool:
    import torch

    return bool(torch.allclose(a, b, atol=1e-4, rtol=1e-4))


def _tiny_causal() -> nn.Module:
    from kit.architectures.model import make_model

    ref = Ref("llama", width=32, feed_forward=32, depth=1)
    return make_model(ref, None, seed=0).module.eval()  # type: ignore[no-any-return]


def _tiny_classifier() -> nn.Module:
    import torch

    from kit.architectures.model import seeded
    from kit.architectures.modules import Classifier

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(256, 16)
            self.mix = torch.nn.Linear(16, 16)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return torch.tanh(self.mix(self.embed(input_ids))) * attention_mask[..., None]

    with seeded(0):
        return Classifier(Encoder(), 16, 2).eval()


def _artifact(kind: str, entry: registry.Entry) -> Artifact:
    """Returns a small artifact with every column of its kind."""
    rng = np.random.default_rng(0)
    n = np.arange(SAMPLES)
    items = {"item": n.astype(str), "cluster": n.astype(str)}
    label = n % 2
    launches = np.repeat(np.arange(4), 2)
    where = entry.traits.get("where") or {}
    timing_phase = str(where.get("phase", "call"))
    columns: dict[str, dict[str, np.ndarray]] = {
        "classification": {
            **items,
            "label": label,
            "logits": rng.normal(size=(SAMPLES, 2)).astype(np.float32),
            "features": rng.normal(size=(SAMPLES, 3)),
        },
        "tokens": {**items, "nll": rng.uniform(9, 99, SAMPLES), "tokens": 9 + n, "bytes": 9 + n},
        "timing": {
            "launch": launches,
            "side": np.tile(["variant", "baseline"], 4),
            "condition": np.repeat("batch_size=1", 8),
            "round": np.zeros(8, int),
            "phase": np.repeat(timing_phase, 8),
            "seconds": rng.uniform(0.1, 0.2, 8),
        },
    }
    quantity = str(where.get("quantity", entry.name))
    counted = {
        "quantity": np.array([quantity]),
        "value": np.array([7.0]),
        "condition": np.array([""]),
        "unit": np.array([entry.traits["unit"]]),
    }
    variant = Variant(Ref("vader"), name="variant")
    run = Run(variant, Ref("latency", task="sentiment", against=variant))
    with contextlib.suppress(SpecError):
        if kind == "classification":
            run = Run(variant, Ref("quality", task="sentiment"))
    return Artifact(run, "check", kind, columns.get(kind, counted))
