"""OpenVINO: any batch and length as eager, and decoding as the module goes forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from kit.architectures.modules import Classifier
from kit.build.build import conflict
from kit.runtimes.eager import eager
from kit.runtimes.openvino import openvino, to_openvino
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant

pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

IDS = torch.arange(1, 33).reshape(2, 16)
SIZES: dict[str, Any] = {
    **{"vocab_size": 96, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
}
WINDOW = 6
MODELS: dict[str, Any] = {
    "grouped": lambda: transformers.LlamaConfig(**SIZES),
    "sliding": lambda: transformers.Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 3, "pad_token_id": 0}, head_dim=16, sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "learned positions": lambda: transformers.GPT2Config(
        vocab_size=96, n_embd=32, n_layer=2, n_head=2, n_positions=64
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(MODELS[request.param]()).eval()
    path = tmp_path_factory.mktemp("made") / "model.openvino"
    to_openvino(model, {"input_ids": IDS}, path)
    return model, path


def expected(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits
    return found


def close(found: Tensor, right: Tensor, atol: float = 1e-4) -> None:
    torch.testing.assert_close(found, right, rtol=0, atol=atol)


def test_rows_of_different_lengths_go_on_together_and_forget(made: tuple[nn.Module, Path]) -> None:
    model, path = made
    session: Any = openvino(path, 1)
    long, short = session.prefill(IDS[:1, :9])[1], session.prefill(IDS[1:, :3])[1]
    both = session.merge([(short, [0]), (long, [0])])
    for k in range(2):  # the second time after the first was forgotten
        found = session.step(both, torch.stack([IDS[1, 3:6], IDS[0, 9:12]]))
        close(found[0], expected(model, IDS[1:, :6])[0, 3:])
        close(found[1], expected(model, IDS[:1, :12])[0, 9:])
        if k == 0:
            session.crop(both, 3)
    alone = session.merge([(both, [0])])  # what it was filled with is left out
    assert 2 * session.bytes(alone) * 12 == session.bytes(both) * 6
    close(session.step(alone, IDS[1:, 6:8])[0], expected(model, IDS[1:, :8])[0, 6:])


def test_a_fork_leaves_the_state_as_it_is(made: tuple[nn.Module, Path]) -> None:
    model, path = made
    session: Any = openvino(path, 1)
    first, state = session.prefill(IDS[:1, :5])
    close(first, expected(model, IDS[:1, :5])[:, -1])
    forked = session.fork(state, 2)
    found = session.step(forked, IDS[:, 5:9])
    for k in range(2):
        close(found[k], expected(model, torch.cat([IDS[:1, :5], IDS[k : k + 1, 5:9]], 1))[0, 5:])
    close(session.step(state, IDS[:1, 5:9]), expected(model, IDS[:1, :9])[:, 5:])


def test_a_cache_in_few_bits_is_near_and_smaller(made: tuple[nn.Module, Path]) -> None:
    model, path = made
    sizes, right = {}, expected(model, IDS)[:, 8:]
    gaps = {}
    for kept in ("f32", "f16", "u8"):
        session: Any = openvino(path, 1, kv_cache=kept)
        assert session.lossy == (kept != "f32")
        _, state = session.prefill(IDS[:, :8])
        forked = session.fork(state, 1)
        found = torch.cat([session.step(forked, IDS[:, k : k + 1]) for k in range(8, 16)], 1)
        gaps[kept] = float((found - right).abs().max() / right.abs().max())
        sizes[kept] = session.bytes(forked)
    assert gaps["f32"] < 1e-4 < gaps["u8"] < 0.05 and gaps["f16"] < 1e-3
    assert sizes["f32"] == 2 * sizes["f16"] and sizes["u8"] < sizes["f16"]


def test_the_window_is_the_end(made: tuple[nn.Module, Path]) -> None:
    session: Any = openvino(made[1], 1)
    _, state = session.prefill(torch.ones(1, 60, dtype=torch.int64))
    with pytest.raises(SpecError, match="65 tokens; expected at most 64, the model's window"):
        session.step(state, IDS[:1, :5])


def test_a_classifier_agrees_with_eager_in_any_batch(
    model: Classifier, batches: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_openvino(model, batches[0], tmp_path / "model.openvino")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plain, forward = eager(model).forward, openvino(tmp_path / "model.openvino", 1)
    assert callable(forward)
    for inputs in batches:
        found = forward(inputs)
        np.testing.assert_allclose(found, plain(inputs).numpy(), rtol=1e-4, atol=1e-5)


def test_what_does_not_convert_is_refused(tmp_path: Path) -> None:
    class Sorts(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            return torch.linalg.svd(input_ids.float())[1]

    with pytest.raises(Undefined, match="OpenVINO cannot convert this model"):
        to_openvino(Sorts(), {"input_ids": IDS}, tmp_path / "model.openvino")


def test_a_missing_package_is_told_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = conflict(Variant("llama", runtime="openvino"))
    assert found == 'openvino needs openvino: pip install "kit[openvino]"'


def test_another_precision_is_refused_where_it_is_typed() -> None:
    with pytest.raises(SpecError, match="kv_cache"):
        Variant("llama", runtime=Ref("openvino", kv_cache="u4"))
