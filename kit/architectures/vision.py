"""Networks for small images: pixels [b, c, h, w] in 0..1 -> logits [b, classes].

Four families from least to most recent, small enough to be trained on a laptop in seconds to
minutes. `rate` and `passes` are what training them from random weights takes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kit.machine.quiet import import_quietly
from kit.spec.register_models import register_architecture

if TYPE_CHECKING:
    from torch import nn

Size = Annotated[int, Field(ge=1)]


@register_architecture(kind="vision", version=1, rate=2e-3, passes=15)
def mlp(
    classes: int, image_shape: tuple[int, int, int], *, width: Size = 256, depth: Size = 2
) -> nn.Module:
    """Perceptron of `depth` hidden layers on the flattened image: it knows of no neighbourhood.

    Args:
        classes: number of labels.
        image_shape: c, h, w.
        width: units of a hidden layer.
        depth: number of hidden layers.
    """
    from torch import nn

    sizes = [math.prod(image_shape), *[width] * depth]
    layers: list[nn.Module] = []
    for size in sizes[:-1]:
        layers += [nn.Linear(size, width), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))


@register_architecture(kind="vision", version=1, rate=2e-3, passes=10)
def lenet(classes: int, image_shape: tuple[int, int, int], *, width: Size = 16) -> nn.Module:
    """LeNet-5's two convolutions and two hidden layers, with ReLU and max pooling.

    LeCun et al., Gradient-based learning applied to document recognition, 1998; its sizes are 6,
    16, 120 and 84, here `width` times 1, 2, 8 and 5.

    Args:
        classes: number of labels.
        image_shape: c, h, w; h and w are 4 or more.
        width: channels of the first convolution.

    Raises:
        ValueError: the image is too small.
    """
    from torch import nn

    channels, height, breadth = image_shape
    if min(height, breadth) < 4:
        raise ValueError(f"lenet halves an image twice; {height} x {breadth} is below 4 x 4")
    flat = 2 * width * (height // 4) * (breadth // 4)
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 8 * width),
        nn.ReLU(),
        nn.Linear(8 * width, 5 * width),
        nn.ReLU(),
        nn.Linear(5 * width, classes),
    )


@register_architecture(kind="vision", version=1, rate=3e-3, passes=6)
def resnet(
    classes: int, image_shape: tuple[int, int, int], *, width: Size = 16, blocks: Size = 1
) -> nn.Module:
    """Residual network of three stages, as for CIFAR-10: 6 `blocks` + 2 layers with weights.

    He et al., Deep residual learning for image recognition, 2016, section 4.2.

    Args:
        classes: number of labels.
        image_shape: c, h, w.
        width: channels of the first stage; each next one doubles them and halves the image.
        blocks: residual blocks a stage.
    """
    from torch import nn

    from kit.architectures.modules import ResidualBlock

    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    before = width
    for stage in range(3):
        after = width * 2**stage
        for block in range(blocks):
            layers.append(ResidualBlock(before, after, 2 if stage and not block else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


@register_architecture(kind="vision", version=1, rate=1.5e-3, passes=30)
def vit(
    classes: int,
    image_shape: tuple[int, int, int],
    *,
    width: Size = 64,
    depth: Size = 4,
    heads: Size = 4,
    patch: Size = 7,
) -> nn.Module:
    """Vision transformer with random weights, by transformers.

    Dosovitskiy et al., An image is worth 16x16 words, 2021.

    Args:
        classes: number of labels.
        image_shape: c, h, w; h and w are multiples of `patch`.
        width: of the hidden states, a multiple of `heads`; feed-forward layers have twice as much.
        depth: number of layers.
        heads: of attention.
        patch: pixels of a patch's side.

    Raises:
        ValueError: patches do not tile the image, or heads do not divide the width.
    """
    import_quietly()
    from transformers import ViTConfig, ViTForImageClassification

    channels, height, breadth = image_shape
    if height % patch or breadth % patch or width % heads:
        raise ValueError(
            f"patch={patch} and heads={heads} do not divide an image of {height} x {breadth} and "
            f"width={width}"
        )
    config = ViTConfig(
        image_size=(height, breadth),
        patch_size=patch,
        num_channels=channels,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        id2label=dict(enumerate(map(str, range(classes)))),
    )
    module: nn.Module = ViTForImageClassification(config)
    return module
