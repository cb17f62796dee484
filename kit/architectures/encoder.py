"""Encoders: input_ids and attention_mask [b, t] -> hidden states [b, t, d].

The kit pools the hidden states and adds the task's head (`kit.architectures.model`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.architectures.tokenizers import HFTokenizer
from kit.machine.quiet import import_quietly
from kit.spec.register_models import register_architecture

if TYPE_CHECKING:
    from torch import nn


def minilm_tokenizer() -> HFTokenizer:
    """Returns the WordPiece tokenizer that lies beside MiniLM's weights."""
    from kit.assets import assets

    return HFTokenizer(assets.path("minilm"))


@register_architecture(kind="encoder", version=1, tokenizer=minilm_tokenizer, assets=("minilm",))
def minilm() -> nn.Module:
    """all-MiniLM-L6-v2: BERT of 6 layers and width 384, 22.6M parameters (Wang et al. 2020).

    Attention is PyTorch's fused one; the module's `set_attn_implementation("eager")` changes it.
    """
    import_quietly()
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    from kit.assets import assets

    folder = assets.path("minilm")
    config = BertConfig.from_pretrained(folder, attn_implementation="sdpa")
    module: nn.Module = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    # The file also holds a pooler that sentence embeddings never used, and a table of positions.
    wanted = module.state_dict().keys()
    module.load_state_dict({name: weight for name, weight in weights.items() if name in wanted})
    return module
