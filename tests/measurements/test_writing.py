"""Answers written together, held against transformers' own `generate` and one at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_scoring import FAMILIES, saved

import kit
from kit.build.runner import Runner
from kit.measurements.footprint import written_bytes
from kit.measurements.going_on import Going, Way, way
from kit.measurements.sampling import chooser
from kit.measurements.scoring import way as way_to_score
from kit.measurements.sharing import StateWalk, TreeWalk
from kit.measurements.writing import Room, each_written, write
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.tasks.templates import Template

HOW = Template("", stops=("w7",), longest=12)
OWN = {"llama": 2, "lfm2": 3, "lstm": 2, "ngram": None}


def prompts(vocabulary: int, n: int = 11, shared: int = 0) -> list[list[int]]:
    """Of many lengths, some equal, two the same; some longer than a sliding window of 16."""
    rng = np.random.default_rng(1)
    prefix = rng.integers(4, vocabulary, shared).tolist()
    made = [[*prefix, *rng.integers(4, vocabulary, 3 + 5 * (k % 6)).tolist()] for k in range(n)]
    return [*made, made[0]]


def together(runner: Runner, given: list[list[int]], rows: int, how: Template = HOW) -> list[Any]:
    by = way(runner, rows)
    found = write(runner, given, how, [chooser()] * len(given), Room(rows), by)
    return [(each.text, each.tokens, each.finish) for each in found]


def by_transformers(runner: Runner, ids: list[int], longest: int) -> list[int]:
    """What its `generate` says of one prompt alone."""
    model: Any = runner.model.module
    given = torch.tensor([ids])
    with torch.inference_mode():
        made = model.generate(
            input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=longest,
            do_sample=False, eos_token_id=None, pad_token_id=0, use_cache=True,
        )  # fmt: skip
    return [int(token) for token in made[0, len(ids) :]]


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("shared", [0, 26])
def test_every_family_writes_as_transformers_does(kind: str, shared: int, tmp_path: Path) -> None:
    runner = Runner(saved(tmp_path / kind, kind, **FAMILIES[kind][0]), 1)
    tokenizer: Any = runner.model.tokenizer
    given = prompts(80, shared=shared)
    assert way(runner, 4) == Way(4)
    for (text, count, finish), ids in zip(together(runner, given, 4), given, strict=True):
        expected = by_transformers(runner, ids, 12)
        ends = [k for k, token in enumerate(expected) if token in tokenizer.ends]
        stops = [k + 1 for k in range(12) if "w7" in tokenizer.decode(expected[: k + 1])]
        size = min([*ends, *stops, 12])
        assert text == tokenizer.decode(expected[:size]).partition("w7")[0]
        assert count == size
        assert finish == ("stop" if size in stops else "end" if size in ends else "length")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("rows", [3, 8])
def test_the_kits_own_models_write_as_one_by_one(name: str, rows: int, toys: Ref) -> None:
    sizes = {} if OWN[name] is None else {"width": 32, "depth": OWN[name]}
    runner = Runner(Variant(Ref(name, **sizes)), 1)
    how, given = HOW._replace(stops=("q",)), prompts(256)
    if name == "ngram":
        runner.model.module.fit(given)
    found = together(runner, given, rows, how)
    assert way(runner, rows).rows == rows
    alone = write(runner, given, how, [chooser()] * len(given), by=Way(1, True))
    assert found == [(each.text, each.tokens, each.finish) for each in alone]
    assert len({each.text for each in alone}) > 3


def test_a_batch_is_filled_up_as_answers_end_within_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    given, steps, held = prompts(80, 30), [], []
    step = Going.step

    def noted(self: Going, tokens: Any) -> Any:
        found = step(self, tokens)
        steps.append(len(tokens))
        held.append(self.bytes())
        return found

    monkeypatch.setattr(Going, "step", noted)
    room, by = Room(4), Way(4)
    found = write(runner, given, HOW, [chooser()] * len(given), room, by)
    assert {each.finish for each in found} == {"stop", "length"}
    asked = sum(each.tokens - 1 for each in found)  # the first comes from the prompt
    assert sum(steps) == asked and max(steps) == 4 and len(steps) < asked / 3
    most = written_bytes(runner, given, HOW, room, by)
    assert most / 2 < max(held) <= most
    steps.clear()
    held.clear()
    again = write(runner, given, HOW, [chooser()] * len(given), Room(4, 90), by)
    assert [each.text for each in again] == [each.text for each in found]
    assert 2 in steps and max(held) <= written_bytes(runner, given, HOW, Room(4, 90), by) < most


def test_what_is_finished_comes_at_once(tmp_path: Path) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    given = prompts(80, 20)
    found = each_written(runner, given, HOW, [chooser()] * len(given), Room(4), Way(4))
    places = [place for place, _ in found]
    assert sorted(places) == [*range(21)] and places != sorted(places)


def test_what_depends_on_its_neighbours_is_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    session: Any = runner.session
    given, step = prompts(80), session.step
    alone = together(runner, given, 1)

    def mixed(state: Any, ids: Any) -> Any:
        found = step(state, ids)
        return found + found.mean(0, keepdim=True) * (len(ids) > 1)

    monkeypatch.setattr(session, "step", mixed)
    found = way(runner, 4)
    assert found[:2] == (1, False) and found.note.startswith("answers are written one by one")
    assert together(runner, given, 4) == alone
    monkeypatch.setattr(session, "step", lambda state, ids: torch.zeros(len(ids), 1, 90))
    found = way(runner, 4)
    assert found[:2] == (1, True) and "from the whole text" in found.note
    assert together(runner, given, 4) == alone


def test_rounded_activations_are_no_other_answer(
    registries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @kit.register_scheme(form="module", rounds_rows=True, tolerance=0.1)
    def int8_rows(model: torch.nn.Module) -> torch.nn.Module:
        return copy.deepcopy(model)

    plain = saved(tmp_path / "llama", "llama")
    rounded = plain.replace(schemes=["int8_rows"])
    for variant, expected in ((plain, (1, True)), (rounded, (4, False))):
        runner = Runner(variant, 1)
        session: Any = runner.session
        step = session.step
        monkeypatch.setattr(session, "step", lambda state, ids, step=step: 1.01 * step(state, ids))
        assert way(runner, 4)[:2] == expected
        assert way_to_score(runner) is (StateWalk if expected[0] > 1 else TreeWalk)


def test_a_session_that_merges_nothing_writes_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    given = prompts(80)
    expected = together(runner, given, 4)

    class Plain:
        def __init__(self, session: Any) -> None:
            for name in ("forward", "prefill", "step", "bytes", "fork"):
                setattr(self, name, getattr(session, name))

    monkeypatch.setattr(runner, "session", Plain(runner.session))
    assert way(runner, 4)[:2] == (1, False)
    assert together(runner, given, 4) == expected


def test_a_prompt_keeps_its_end_where_the_window_is_short(tmp_path: Path) -> None:
    variant = saved(tmp_path / "llama", "llama", max_position_embeddings=20)
    runner = Runner(variant, 1)
    assert runner.model.window == 20
    long = prompts(80)[5]
    assert len(long) > 20
    assert together(runner, [long], 1) == together(runner, [long[-8:]], 1)
    with pytest.raises(Undefined, match="up to 20 tokens leave no room .* expected longest=19"):
        together(runner, [long], 1, HOW._replace(longest=20))


def test_logits_that_are_no_numbers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(saved(tmp_path / "llama", "llama"), 1)
    with torch.no_grad():
        runner.model.module.lm_head.weight[5] = torch.nan
    with pytest.raises(ValueError, match="llama gave NaN or infinite logits"):
        together(runner, prompts(80), 4)
