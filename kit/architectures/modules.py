"""The kit's own `nn.Module`s. Imported by the functions that build them, never at start-up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from kit.architectures.outputs import hidden, logits
from kit.spec.checking import Undefined


class Headed(nn.Module):
    """A classifier whose last layer reads a vector an item: its features."""

    def last_layer(self) -> nn.Linear | None:
        """Returns the layer that gives the logits; None where that is no linear layer."""
        raise NotImplementedError

    @contextlib.contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Collects what the last layer reads while the module runs, [b, d] a call.

        Raises:
            Undefined: there is no such layer, or it does not read vectors.
        """
        layer, read = self.last_layer(), []

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read.append(inputs[0])

        hook = layer.register_forward_pre_hook(keep) if layer is not None else None
        try:
            yield read
        finally:
            if hook is not None:
                hook.remove()
        if layer is None or any(each.ndim != 2 for each in read):
            name = type(getattr(self, "network", self)).__name__
            raise Undefined(f"{name} has no last linear layer that reads a vector an item")


class Classifier(Headed):
    """An encoder, the mean of its hidden states over the mask, dropout and a linear head.

    Args:
        encoder: input_ids, attention_mask [b, t] -> hidden [b, t, d], or an output that has
            `.last_hidden_state`.
        width: d.
        classes: number of labels.
        dropout: share of pooled features dropped in training.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def last_layer(self) -> nn.Linear:
        return self.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns logits [b, classes]; padding takes no part in the mean."""
        states = hidden(self.encoder(input_ids=input_ids, attention_mask=attention_mask))
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return self.head(self.dropout(pooled))  # type: ignore[no-any-return]


class ImageClassifier(Headed):
    """A network for images, given its input in its own dtype.

    Args:
        network: pixels [b, c, h, w] in 0..1 -> logits [b, classes], or an output with `.logits`.
        classes: number of labels.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes

    def last_layer(self) -> nn.Linear | None:
        """Returns the last linear layer with an output a class."""
        linears = [part for part in self.network.modules() if isinstance(part, nn.Linear)]
        heads = [part for part in linears if part.out_features == self.classes]
        return heads[-1] if heads else None

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns logits [b, classes]."""
        output = self.network(pixels.to(next(self.network.parameters()).dtype))
        return logits(output)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, added to what went in.

    Where the shape changes, a 1 x 1 convolution makes the shortcut fit (option B of He et al.).

    Args:
        before, after: channels that go in and come out.
        stride: of the first convolution.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            fit = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(fit, nn.BatchNorm2d(after))

    def forward(self, states: Tensor) -> Tensor:
        """Returns [b, after, h / stride, w / stride] of [b, before, h, w]."""
        return torch.relu(self.body(states) + self.shortcut(states))


class Deployed(nn.Module):
    """A classifier of transformers that takes what its tokenizer makes and gives logits alone.

    Args:
        model: gives an output with `.logits` [b, its labels].
        names: of the inputs that it takes.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Returns logits [b, the model's labels]."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        output = self.model(**{name: given[name] for name in self.names})
        return output.logits  # type: ignore[no-any-return]


class RotatedNorm(nn.Module):
    """The norm of a stream before it was rotated, for the rotated stream: it gives rotated states.

    Args:
        norm: as it was.
        rotation: orthogonal [d, d]; the stream is what it was times this.
    """

    def __init__(self, norm: nn.Module, rotation: Tensor) -> None:
        super().__init__()
        self.norm = norm
        weight = rotation.to(next(norm.parameters()).dtype)
        self.rotation = nn.Parameter(weight, requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """Returns states [b, t, d] normed."""
        normed: Tensor = self.norm(states @ self.rotation.T)
        return normed @ self.rotation
