"""The bar shows what any step reports, of which variant, in a terminal's 80 columns."""

from __future__ import annotations

import io
import threading

import pytest
from tqdm.std import tqdm

import kit
from kit.machine import progress
from kit.spec.ref import Ref
from kit.spec.spec import Run, Variant
from kit.study import bar as module
from kit.study.bar import Bar


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 80 columns gets."""
    file = io.StringIO()

    def drawn(**options: object) -> tqdm:
        fixed = {"file": file, "disable": False, "dynamic_ncols": False, "ncols": 80}
        return tqdm(**options | fixed | {"mininterval": 0, "ascii": False})

    monkeypatch.setattr(module, "tqdm", drawn)
    return file


def lines(screen: io.StringIO) -> list[str]:
    return [line.strip() for line in screen.getvalue().split("\r") if line.strip()]


def test_a_step_is_shown_with_its_variant(screen: io.StringIO) -> None:
    bar = Bar(38)
    with bar.telling(Variant("minilm", name="minilm", seed=1)):
        bar.show("training, 2 min left, epoch 1.4 of 3, loss 0.412")
    bar.update()
    bar.close()
    shown = [line for line in lines(screen) if "training" in line]
    assert "minilm seed 1: training, 2 min left, epoch 1.4 of 3" in shown[0]
    assert max(map(len, lines(screen))) <= 80
    assert "| 1/38 [" in lines(screen)[-1]


def test_new_words_come_at_once_and_counts_once_a_second(screen: io.StringIO) -> None:
    bar = Bar(2)
    for text in ("10 of 50 items", "20 of 50 items", "exporting minilm"):
        bar.show(text)
    bar.close()
    told = "\n".join(lines(screen)[:-1])
    assert "10 of 50" in told and "exporting minilm" in told and "20 of 50" not in told


def test_each_thread_has_its_own_variant(screen: io.StringIO) -> None:
    bar, ready = Bar(2), threading.Barrier(2)

    def work(name: str) -> None:
        with bar.telling(Variant("minilm", name=name)):
            ready.wait()
            bar.show(f"step of {name}")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bar.close()
    assert "one: step of one" in screen.getvalue() and "two: step of two" in screen.getvalue()


@pytest.mark.usefixtures("registries", "fresh_store")
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_training_reaches_the_bar_of_a_study(
    toys: Ref, screen: io.StringIO, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers import toy_variant

    base = toy_variant(toys, seed=3)
    study = kit.Study("shown", [Run(base, kit.Quality(toys, limit=8))], base)
    study.run(executor=executor, on_error="raise")
    shown = screen.getvalue()
    assert "base seed 3: training, " in shown and "of 15, loss" in shown
    assert progress._show is None
