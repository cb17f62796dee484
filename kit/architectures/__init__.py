"""What is compared: model architectures, their tokenizers, their budget and their training.

Importing this package registers the kit's own architectures; it loads no torch.
"""

from kit.architectures import causal, encoder, predictors, pretrained, vision

__all__ = ["causal", "encoder", "predictors", "pretrained", "vision"]
