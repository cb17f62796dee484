"""Steps between forms from outside the kit: exporters, schemes on what is written, fitted ones."""

from __future__ import annotations

import copy
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import measure, toy_variant
from torch import Tensor, nn

import kit
from kit import tasks
from kit.architectures.outputs import logits
from kit.architectures.preprocessing import free_dimensions
from kit.build import build, steps
from kit.build.runner import GraphRunner, Runner
from kit.checks import check
from kit.measurements import Memory
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant, uses

DIM = torch.export.Dim.DYNAMIC


def to_program(model: nn.Module, inputs: Mapping[str, Tensor], output: Path) -> None:
    """A program of `torch.export`, of any batch and length."""
    sizes = {name: dict.fromkeys(range(free_dimensions(t)), DIM) for name, t in inputs.items()}
    program = torch.export.export(model.eval(), (), dict(inputs), dynamic_shapes=sizes)
    torch.export.save(program, output)


def gather(path: Path, output: Path) -> None:
    """A folder with the program in it."""
    output.mkdir()
    shutil.copy(path, output / "program.pt2")


def grown(path: Path, output: Path, *, by: float = 0.0) -> None:
    """Weights of a program times a number."""
    program = torch.export.load(path)
    with torch.no_grad():
        for weight in program.state_dict.values():
            weight.mul_(1 + by)
    torch.export.save(program, output)


def program_runtime(path: Path) -> Any:
    """Runs a program."""
    module = torch.export.load(path).module()

    def forward(inputs: Mapping[str, Tensor]) -> Any:
        with torch.no_grad():
            return logits(module(**inputs))

    return forward


def folder_runtime(path: Path) -> Any:
    """Runs the program in a folder."""
    return program_runtime(path / "program.pt2")


@pytest.fixture
def toy_forms(registries: None) -> None:
    """Two forms, `pt2` and `folder`, with what leads to them, acts on them and runs them."""
    kit.register_exporter(source="module", target="pt2", version=1)(to_program)
    kit.register_exporter(source="pt2", target="folder", version=1)(gather)
    kit.register_scheme(form="pt2", tolerance=0.5, version=1)(grown)
    kit.register_runtime(form="pt2", version=1)(program_runtime)
    kit.register_runtime(form="folder", version=1)(folder_runtime)


@pytest.fixture
def texts(toys: Ref) -> list[str]:
    return list(tasks.load(toys).split("test", 12)["text"])


def missing(variant: Variant) -> list[str]:
    return [step.name for step in steps.missing(variant)]


def test_exporters_lead_from_form_to_form(
    toys: Ref, texts: list[str], toy_forms: None, fresh_store: Path
) -> None:
    base = toy_variant(toys)
    variant = base.replace(runtime="folder_runtime")
    known = {"module", "state", "onnx", "onnx_decoder", "openvino", "gguf"}
    assert registry.routes().keys() == known | {"pt2", "folder"}
    assert missing(variant) == ["training", "to_program", "gather"]
    assert set(uses(variant)) >= {"exporters/to_program", "exporters/gather"}
    runner = Runner(variant, 1)
    assert isinstance(runner, GraphRunner) and runner.graph.name == "model.folder"
    np.testing.assert_allclose(runner.predict(texts), Runner(base, 1).predict(texts), rtol=1e-4)
    assert missing(variant) == []
    assert missing(base.replace(runtime="program_runtime")) == []
    size = sum(file.stat().st_size for file in runner.graph.iterdir())
    assert runner.stored().disk_bytes == size


def test_three_schemes_on_what_was_exported_are_made_once_each(
    toys: Ref, texts: list[str], toy_forms: None, fresh_store: Path
) -> None:
    def chain(last: float) -> Variant:
        schemes = [Ref("grown", by=by) for by in (0.01, 0.02, last)]
        return toy_variant(toys, schemes=["w4", *schemes], runtime="program_runtime")

    assert missing(chain(0.03)) == ["training", "to_program", "grown", "grown", "grown"]
    found = Runner(chain(0.03), 1).predict(texts)
    assert np.isfinite(found).all()
    assert missing(chain(0.03)) == []
    assert missing(chain(0.04)) == ["grown"]
    assert not np.array_equal(Runner(chain(0.04), 1).predict(texts), found)


def test_what_no_exporter_leads_to_is_told(toys: Ref, toy_forms: None) -> None:
    variant = toy_variant(toys, schemes=["grown"])
    assert build.conflict(variant) == (
        "grown gives pt2, which eager does not run; use folder_runtime or program_runtime"
    )
    with pytest.raises(SpecError, match=r"grown \(pt2\), round \(module\); nothing makes mod"):
        variant.replace(schemes=["grown", "w4"])


@pytest.mark.slow
def test_a_form_of_ones_own_keeps_the_contract(toy_forms: None) -> None:
    assert not [one for one in check("exporters/gather") if not one.passed]


FITTED: list[int] = []
"""Of each time that something was fitted, the tokens it saw."""


def input_sizes(
    model: nn.Module, batches: Iterator[Mapping[str, Tensor]], *, texts: int
) -> dict[str, Tensor]:
    """The mean size of each input of each linear layer on a few texts."""
    seen: dict[str, list[Tensor]] = {}

    def listen(name: str) -> Any:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.setdefault(name, []).append(inputs[0].abs().flatten(0, -2).mean(0))

        return keep

    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    hooks = [layer.register_forward_pre_hook(listen(name)) for name, layer in layers.items()]
    chosen = list(itertools.islice(batches, texts))
    FITTED.append(sum(next(iter(inputs.values())).shape[1] for inputs in chosen))
    with torch.no_grad():
        for inputs in chosen:
            model(**inputs)
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(sizes).mean(0) for name, sizes in seen.items()}


def scaled_round(
    model: nn.Module,
    fitted: dict[str, Tensor],
    *,
    calibration: kit.TaskRef | None = None,
    texts: int = 8,
    bits: int = 4,
) -> kit.Compressed:
    """Rounds linear weights, those of large inputs more finely (as AWQ does)."""
    del calibration, texts  # of the fit
    copied, taken = copy.deepcopy(model), {}
    for name, size in fitted.items():
        layer = copied.get_submodule(name)
        scale = size.clamp(min=1e-4).sqrt()
        weight = layer.weight.detach() * scale
        step = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
        layer.weight = nn.Parameter((weight / step).round() * step / scale)
        taken[f"{name}.weight"] = bits + 16 / weight.shape[1]
    return kit.Compressed(copied, taken)


@pytest.fixture
def calibrated(registries: None) -> None:
    FITTED.clear()
    kit.register_scheme(form="module", simulated=True, fit=input_sizes, version=1)(scaled_round)


def test_what_is_fitted_is_kept_and_loaded(
    toys: Ref, texts: list[str], calibrated: None, fresh_store: Path
) -> None:
    base = toy_variant(toys)
    variant = base.replace(schemes=["scaled_round"])
    assert missing(variant) == ["training", "scaled_round"]
    first, again = (Runner(variant, 1).predict(texts) for _ in "ab")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, Runner(base, 1).predict(texts))
    data = tasks.load(toys)
    lengths = [min(len(text.encode()), 32) for text in data.split("train", 8)["text"]]
    assert FITTED == [sum(lengths)]
    more = base.replace(schemes=[Ref("scaled_round", texts=4)])
    assert missing(more) == ["scaled_round"]
    found = measure(Runner(variant, 1), Memory(toys)).columns
    at = list(found["quantity"]).index("bits_per_weight")
    assert found["value"][at] == 4 + 16 / 16
    assert len(FITTED) == 1
    step = steps.missing(more)[0]
    step.built()
    assert {path.name for path in step.folder.iterdir()} >= {"fitted.safetensors", "seconds"}
    made = build.origin(Run(more, Memory(toys)), built=True)["built"][step.folder.name]
    assert made["step"] == "scaled_round" and made["seconds"] > 0


def test_a_fitted_scheme_without_data_is_told(toys: Ref, calibrated: None) -> None:
    untrained = Variant("toy_encoder", schemes=["scaled_round"])
    said = (
        "scaled_round is fitted on data, and toy_encoder was not trained here: say on which, "
        "Ref('scaled_round', calibration='...'), the name of a task"
    )
    assert build.conflict(untrained) == said
    with pytest.raises(Undefined, match="is fitted on data"):
        Runner(untrained, 1, toys)
    scheme = Ref("scaled_round", calibration=toys)
    assert build.conflict(untrained.replace(schemes=[scheme])) is None
    assert "tasks/toys" in uses(untrained.replace(schemes=[scheme]))
    with pytest.raises(SpecError, match=r"unknown task 'toyz'. Did you mean 'toys'"):
        untrained.replace(schemes=[Ref("scaled_round", calibration="toyz")])


def test_a_fitted_scheme_keeps_its_contract(calibrated: None) -> None:
    broken = [one for one in check("scaled_round") if not one.passed]
    assert not broken


def test_a_fit_that_gives_no_tensors_is_told(toys: Ref, registries: None) -> None:
    def nothing(model: Any) -> list[int]:
        return [1]

    def kept(model: Any, fitted: Any, *, calibration: kit.TaskRef | None = None) -> Any:
        return model

    kit.register_scheme(form="module", fit=nothing, version=1)(kept)
    with pytest.raises(SpecError, match="the fit of kept gave a list; expected a dict of tensors"):
        Runner(toy_variant(toys, schemes=["kept"]), 1)


def test_a_fit_and_its_scheme_have_to_match(registries: None) -> None:
    def fit(model: Any, batches: Any) -> dict[str, Any]: ...
    def plain(model: Any) -> Any: ...
    def unmade(model: Any, fitted: Any) -> Any: ...
    def file(path: Any, output: Any) -> Any: ...

    for function, options in (
        (plain, {"fit": fit}),
        (unmade, {}),
        (file, {"fit": fit, "form": "onnx"}),
    ):
        with pytest.raises(SpecError, match=f"{function.__name__}: with fit= a scheme on a modu"):
            kit.register_scheme(**{"form": "module", **options})(function)
