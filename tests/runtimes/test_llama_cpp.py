"""llama.cpp on a tiny GGUF: it decodes as the module goes forward, in caches of several types."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_gguf import write_gguf
from torch import Tensor, nn

import kit
from kit.build.build import conflict
from kit.build.runner import Runner
from kit.build.verify import tolerance
from kit.runtimes.llama_cpp import llama_cpp, to_gguf
from kit.runtimes.llama_cpp_calls import library
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant

IDS = torch.arange(1, 33).reshape(2, 16)
LAYERS, HEADS, WIDTH, WINDOW = 2, 2, 32, 1024
SIZES: dict[str, Any] = {
    **{
        "vocab_size": 96,
        "hidden_size": 128,
        "intermediate_size": 128,
        "tie_word_embeddings": False,
    },
    **{"num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": HEADS},
    **{"head_dim": WIDTH, "max_position_embeddings": WINDOW},
}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()


@pytest.fixture(scope="module")
def file(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(model, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def opened(file: Path, kv_cache: str = "f32") -> Any:
    pytest.importorskip("llama_cpp")
    return llama_cpp(file, 1, kv_cache=kv_cache)  # type: ignore[arg-type]


def expected(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits
    return found


def close(found: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(found, right, rtol=0, atol=1e-4)


def test_a_batch_goes_forward_and_again(model: nn.Module, file: Path) -> None:
    session = opened(file)
    for ids in (IDS, IDS[:, :5], torch.arange(600)[None] % 96):  # more than a call of llama.cpp
        close(session.forward({"input_ids": ids}), expected(model, ids))


def test_rows_of_different_lengths_go_on_together_and_forget(model: nn.Module, file: Path) -> None:
    session = opened(file)
    long, short = session.prefill(IDS[:1, :9])[1], session.prefill(IDS[1:, :3])[1]
    both = session.merge([(short, [0]), (long, [0])])
    for k in range(2):  # the second time after the first was forgotten
        found = session.step(both, torch.stack([IDS[1, 3:6], IDS[0, 9:12]]))
        close(found[0], expected(model, IDS[1:, :6])[0, 3:])
        close(found[1], expected(model, IDS[:1, :12])[0, 9:])
        if k == 0:
            session.crop(both, 3)


def test_a_fork_leaves_the_state_as_it_is(model: nn.Module, file: Path) -> None:
    session = opened(file)
    first, state = session.prefill(IDS[:1, :5])
    close(first, expected(model, IDS[:1, :5])[:, -1])
    forked = session.fork(state, 2)
    found = session.step(forked, IDS[:, 5:9])
    for k in range(2):
        close(found[k], expected(model, torch.cat([IDS[:1, :5], IDS[k : k + 1, 5:9]], 1))[0, 5:])
    close(session.step(state, IDS[:1, 5:9]), expected(model, IDS[:1, :9])[:, 5:])


def test_a_state_grows_beyond_its_room_and_ends_at_the_window(model: nn.Module, file: Path) -> None:
    session, ids = opened(file), torch.arange(2 * 520).reshape(2, 520) * 7 % 96
    _, state = session.prefill(ids[:, :100])
    room = state.context.room
    found = session.step(state, ids[:, 100:])
    assert state.context.room > room
    close(found, expected(model, ids)[:, 100:])
    with pytest.raises(SpecError, match="1,025 tokens; expected at most 1,024, the model's window"):
        session.step(state, torch.ones(2, WINDOW - 519, dtype=torch.int64))


def test_a_cache_in_few_bits_is_near_and_as_small_as_it_says(model: nn.Module, file: Path) -> None:
    right, gaps = expected(model, IDS)[:, 8:], {}
    for kind, bits in (("f32", 32), ("f16", 16), ("q8_0", 8.5), ("q4_0", 4.5)):
        session = opened(file, kind)
        _, state = session.prefill(IDS[:, :8])
        forked = session.fork(state, 1)
        found = torch.cat([session.step(forked, IDS[:, k : k + 1]) for k in range(8, 16)], 1)
        gaps[kind] = float((found - right).abs().max() / right.abs().max())
        assert session.state_bytes(16) == 16 * 2 * LAYERS * HEADS * WIDTH * bits / 8
        written = 2 * (16 * 8 + 200)  # llama.cpp says a place of each cell, and sizes
        assert 0 <= session.bytes(forked) - 2 * session.state_bytes(16) <= written
    assert gaps["f32"] < 1e-4 < gaps["q8_0"] < gaps["q4_0"] < 0.3 and gaps["f16"] < 2e-3


def test_a_context_is_freed_with_the_state_that_holds_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, calls, freed = opened(file), library(), list[Any]()
    real = calls.llama_free
    monkeypatch.setattr(calls, "llama_free", lambda each: (freed.append(each), real(each)))
    _, state = session.prefill(IDS)
    old = state.context.pointer
    session.step(state, torch.ones(2, 500, dtype=torch.int64))  # moves into a larger one
    assert freed == [old]
    new = state.context.pointer
    del state
    gc.collect()
    assert freed == [old, new]


def test_too_many_rows_and_no_file_are_told(file: Path, tmp_path: Path) -> None:
    session = opened(file)
    with pytest.raises(Undefined, match="a batch of 300 on llama.cpp; expected at most 256"):
        session.prefill(torch.ones(300, 2, dtype=torch.int64))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF junk")
    with pytest.raises(SpecError, match="no GGUF that llama.cpp runs"):
        opened(broken)
    with pytest.raises(SpecError, match="kv_cache"):
        Variant("smollm2", runtime=Ref("llama_cpp", kv_cache="q5"))


def test_what_is_read_from_no_file_is_told_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Any] = [object()]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there[0])
    llama, smollm2 = Variant("llama", runtime="llama_cpp"), Variant("smollm2", runtime="llama_cpp")
    assert conflict(smollm2) is None and tolerance(smollm2) == 0.5
    found = conflict(smollm2.replace(schemes=["w8"]))
    assert found is not None and "round cannot act on its weights" in found
    assert "llama is not read from one; expected a GGUF" in (conflict(llama) or "")
    there[0] = None
    assert conflict(smollm2) == 'llama_cpp needs llama_cpp: pip install "kit[llama-cpp]"'


def test_the_file_is_copied_byte_by_byte(file: Path, tmp_path: Path) -> None:
    to_gguf(file, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == file.read_bytes()
    with pytest.raises(Undefined, match="not read from one"):
        to_gguf(None, tmp_path / "none.gguf")


@pytest.mark.slow
def test_the_kits_own_model_runs_from_its_own_file() -> None:
    pytest.importorskip("llama_cpp")
    runner = Runner(kit.Variant("smollm2", runtime="llama_cpp"), 1)
    stored = runner.stored()
    assert 4.5 < stored.bits_per_weight < 5.5 and stored.disk_bytes == stored.nominal_bytes > 9e7
    inputs = runner.inputs(["The capital of France is Paris, and that of Germany is"])
    right = Runner(kit.Variant("smollm2"), 1).forward(inputs)
    found = runner.forward(inputs)
    assert (found.argmax(-1) == right.argmax(-1)).mean() > 0.9
    assert abs(found - right).max() < 0.1 * abs(right).max()  # its activations have 8 bits
