"""Writing tokens on each runtime, against eager and against others' engines in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import Figure, fresh_store
from kit import tasks
from kit.build.build import conflict
from kit.build.runner import Runner
from kit.machine.ceilings import ceilings
from kit.measurements.decoding_calls import prompts, weight_bytes
from kit.measurements.going_on import decoder
from kit.measurements.greedy import greedy
from kit.measurements.writing_calls import Writing
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.store import store

PROMPT, TOKENS, ROUNDS = 128, 40, 4
BASE = Variant("smollm2")
VERSIONS: Mapping[str, Variant] = {
    "eager fp32": BASE,
    "compiled, static cache": BASE.replace(runtime=Ref("compiled", cache="static")),
    "ONNX Runtime fp32": BASE.replace(runtime="onnx_decoder"),
    "ONNX Runtime int8": BASE.replace(schemes=["nbits_int8"], runtime="onnx_decoder"),
    "OpenVINO fp32": BASE.replace(runtime="openvino"),
    "OpenVINO int8": BASE.replace(schemes=["nncf_int8"], runtime="openvino"),
    "ONNX Runtime int4": BASE.replace(schemes=["nbits_int4"], runtime="onnx_decoder"),
    "llama.cpp, the file as it is": BASE.replace(runtime="llama_cpp"),
}
LEAST, FLOOR, REPEATED, AT_ONCE = 6, 0.6, 10, 4


def decoding() -> Iterator[Figure]:
    """SmolLM2-135M, one thread, CPU seconds, in turns."""
    import torch

    torch.set_num_threads(1)
    with fresh_store():
        able = {name: each for name, each in VERSIONS.items() if conflict(each) is None}
        runners = {name: Runner(variant, 1) for name, variant in able.items()}
        text = _text(runners["eager fp32"])
        calls: dict[str, Callable[[], list[int]]] = {
            name: lambda runner=runner: _greedy(runner, text) for name, runner in runners.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            calls |= _peers(runners["eager fp32"], text, Path(folder))
            took, said = _turns(calls)
        yield from _rates(runners, took, said)
        best = _best(runners, took, said)
        yield from _writing(runners, best)
        yield from _launches()
        yield from _states()


def _text(runner: Any) -> list[int]:
    data = tasks.load("wikipedia")
    return prompts(runner, data.examples(data.split("test", 8)), PROMPT)[0]


def _greedy(runner: Any, text: list[int]) -> list[int]:
    return [token for token, _ in islice(greedy(decoder(runner), text), TOKENS)]


def _peers(runner: Any, text: list[int], folder: Path) -> dict[str, Callable[[], list[int]]]:
    """Returns ONNX Runtime GenAI's own generator, on what its builder makes of the same weights."""
    try:
        import onnxruntime_genai as library
    except ImportError:
        return {}
    from kit.runtimes.onnx_decoder import BUILDER, save_for_builder

    save_for_builder(runner.model.module, folder / "model")
    places = ["-i", folder / "model", "-o", folder / "built", "-c", folder / "cache"]
    command = [sys.executable, "-m", BUILDER, *places, "-p", "int8", "-e", "cpu"]
    quiet = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([*map(str, command)], env=quiet, check=True, capture_output=True)
    config = library.Config(str(folder / "built"))
    config.overlay('{"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}')
    model = library.Model(config)

    def generate() -> list[int]:
        params = library.GeneratorParams(model)
        params.set_search_options(max_length=PROMPT + TOKENS, do_sample=False)
        generator = library.Generator(model, params)
        generator.append_tokens(np.array([text], np.int32))
        for _ in range(TOKENS):
            generator.generate_next_token()
        return [*map(int, generator.get_sequence(0)[PROMPT : PROMPT + TOKENS])]

    return {"by hand: onnxruntime-genai int8": generate}


def _turns(calls: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Returns the CPU seconds of each call in each round, and what it gave."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    said = {name: call() for name, call in calls.items()}
    for turn in range(ROUNDS):
        names = [*calls][:: 1 if turn % 2 else -1]
        for name in names:
            start = time.process_time()
            calls[name]()
            took[name].append(time.process_time() - start)
    return took, said


def _ratio(took: Mapping[str, list[float]], name: str, over: str = "eager fp32") -> float:
    return median(a / b for a, b in zip(took[over], took[name], strict=True))


def _same(said: Mapping[str, Any], name: str) -> int:
    pairs = zip(said[name], said["eager fp32"], strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), TOKENS)


def _best(runners: Mapping[str, Any], took: Any, said: Any) -> str:
    """Returns the quickest version that writes what eager writes."""
    return max((n for n in runners if _same(said, n) == TOKENS), key=lambda n: _ratio(took, n))


def _rates(
    runners: Mapping[str, Any], took: dict[str, list[float]], said: dict[str, Any]
) -> Iterator[Figure]:
    best = _best(runners, took, said)
    peers = [name for name in took if name not in runners]
    for name in took:
        if name == "eager fp32":
            continue
        told = f"{_ratio(took, name):.1f} times eager, {_same(said, name)} of {TOKENS} tokens equal"
        if name != best:
            yield Figure(f"writes, {name}", told)
            continue
        behind = [peer for peer in peers if median(took[peer]) < median(took[best])]
        kept = _ratio(took, name) >= LEAST and not behind
        yield Figure(f"writes, {name}", told, f">= {LEAST}, and no peer quicker", kept)
    floor = weight_bytes(runners[best]) / 1e9 / ceilings(1).bandwidth
    share = floor * TOKENS / median(took[best])
    told = f"{share:.0%}, of {ceilings(1).bandwidth:.0f} GB/s (prompt included)"
    yield Figure(f"bandwidth reached, {best}", told, f">= {FLOOR:.0%}", share >= FLOOR)


def _writing(runners: Mapping[str, Any], best: str) -> Iterator[Figure]:
    """Tokens guessed ahead in text that repeats and in text that does not; eight texts at once."""
    data = tasks.load("wikipedia")
    examples = data.examples(data.split("test", 32))
    asked = {
        "plain": Writing(PROMPT, TOKENS, "plain", "lookup"),
        "repeated": Writing(PROMPT, TOKENS, "repeated", "lookup"),
    }
    for name, call in asked.items():
        ours, theirs = (
            _seconds(each.ready(runner, examples).calls)
            for each, runner in ((call, runners[best]), (call.plainly, runners["eager fp32"]))
        )
        cost = call.cost(runners[best], runners[best], examples)
        told = f"{theirs / ours:.1f} times eager, {cost.right} of {cost.guessed} guesses right"
        least = REPEATED if name == "repeated" else None
        kept = None if least is None else theirs / ours >= least
        yield Figure(f"guessed by look-up, {name} text, {best}", told, f">= {least or ''}", kept)
    for name in dict.fromkeys(("eager fp32", best)):
        together = Writing(PROMPT // 2, 24, requests=8, at_once=8)
        both = (each.ready(runners[name], examples).calls for each in (together, together.plainly))
        quick, slow = (_seconds(calls) for calls in both)
        told = f"{slow / quick:.1f} times one by one"
        yield Figure(f"eight texts at once, {name}", told, f">= {AT_ONCE}", slow / quick >= AT_ONCE)


def _seconds(calls: Any) -> float:
    """Returns the CPU seconds of all calls, the better of two rounds."""
    found = []
    for _ in range(2):
        start = time.process_time()
        for call in calls:
            call()
        found.append(time.process_time() - start)
    return min(found)


def _launches() -> Iterator[Figure]:
    """What a launch costs beside its timing, and whether a version differs from itself."""
    from kit.measurements import Decode
    from kit.study.study import Study

    ask = Decode("wikipedia", prompts=(64,), contexts=(64,), batch_sizes=(1,), seconds=1.0)
    study = Study("itself", [Run(BASE, ask)], BASE)
    table = study.run()
    (run,) = study.runs
    artifact = store.load(run, run.id)
    launches = len(set(artifact.columns["launch"]))
    beside = sum(artifact.info["spent"][part] for part in ("starting", "waiting")) / launches
    yield Figure("a launch beside its timing", f"{beside:.1f} s", "<= 8 s", beside <= 8)
    for row in table[table["metric"] == "speedup"].to_dict("records"):
        told = f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        kept = row["ci_low"] <= 1 <= row["ci_high"]
        yield Figure(f"against itself, {row['condition']}", told, "contains 1", kept)


def _states() -> Iterator[Figure]:
    """Allocated bytes of states over those of their formula, of full and of packed caches."""
    from kit.measurements import State
    from kit.spec import registry

    ask = State(contexts=(256, 1024), batch_sizes=(1, 4))
    for scheme in (None, "kv_int8", "kv_int4", "kv_int2"):
        runner = Runner(BASE.replace(schemes=[scheme] if scheme else ()), 1)
        columns = registry.measurements.get(ask.name).function(runner, **ask.args).columns
        held, told = (
            columns["value"][columns["quantity"] == f"{name}_state_bytes"]
            for name in ("allocated", "expected")
        )
        apart = float(np.abs(held / told - 1).max())
        name = f"bytes of state, {scheme or 'full'}"
        yield Figure(name, f"{apart:.1%} off", "<= 2%", apart <= 0.02)
