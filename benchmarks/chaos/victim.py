"""What is killed: a tiny study with a training, an export, a timing and a page.

Run as `python -m benchmarks.chaos.victim`, in a project folder of its own. It says `publishing`
when the study is done, and is quick enough to be killed hundreds of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kit
from kit.assets import assets
from kit.spec.ref import Ref
from kit.spec.spec import Budget, Training, Variant
from kit.tasks.own import task_from_frame
from kit.tasks.sentiment import FILES, read_domain

if TYPE_CHECKING:
    from torch import Tensor, nn

TEXTS, TWEETS = 600, 150
CHECKPOINT_SECONDS = 0.1  # so that kills fall between checkpoints of a training of a second


def tiny_encoder(vocab_size: int, *, width: int = 32) -> nn.Module:
    """Hidden states of an embedding and a linear layer, [b, t, width]."""
    import torch

    from kit.training import loop

    loop.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocab_size, width)
            self.layer = torch.nn.Linear(width, width)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
            del attention_mask
            return torch.tanh(self.layer(self.embedding(input_ids)))

    return Encoder()


def main() -> None:
    """Runs and publishes two versions, their quality on two splits, a timing in two launches."""
    kit.register_architecture(kind="encoder", version=1)(tiny_encoder)
    folder = assets.path("sentiment")
    movie, tweets = (read_domain(folder / FILES[name], name)[0] for name in ("movie", "tweets"))
    data = task_from_frame("slice", movie[:TEXTS], shifts={"tweets": tweets[:TWEETS]})
    training = Training(data, Budget(epochs=6), rates=(3e-3,), batch_size=8, length=64)
    base = Variant(Ref("tiny_encoder"), training, name="base")
    exported = base.replace(runtime="onnx")
    runs = [
        kit.Run(variant, kit.Quality(data, split))
        for variant in (base, exported)
        for split in ("test", "tweets")
    ]
    timing = kit.Latency(data, batch_sizes=(1,), threads=1, launches=2, seconds=0.1)
    timing = timing.replace(wait=0.0)  # two victims side by side never find quiet
    study = kit.Study("victim", [*runs, kit.Run(exported, timing)], base)
    table = study.run()
    print("publishing", flush=True)
    figures = {"quality": kit.plot.quality(table)}
    kit.publish("99_victim", study, verdict=f"{len(table)} rows.", figures=figures)


if __name__ == "__main__":
    main()
