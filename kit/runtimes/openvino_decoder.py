"""A language model of transformers as a model of OpenVINO that keeps its keys and values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from kit.runtimes.decoding import window_of
from kit.runtimes.openvino_session import KEPT, ROWS, WINDOW

if TYPE_CHECKING:
    from torch import Tensor, nn

PAST = 5
"""Tokens of the example that are past; as many as any other number would do."""


class Decoder(torch.nn.Module):
    """A language model whose past is an argument and whose present is a result.

    Rows may be filled on their left: places are counted in the cache, positions in a row's text.

    Args:
        model: of transformers; all its layers are attention.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        logits_to_keep: Tensor,
        beam_idx: Tensor,
        past: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Returns the logits [b, k, v] of some places, and each layer's keys and values.

        Args:
            input_ids: [b, t].
            attention_mask: [b, past + t], 0 where a row is filled.
            position_ids: [b, t].
            logits_to_keep: [k] places among the t.
            beam_idx: [b], the row of the past that each row goes on with.
            past: keys and values of each layer in turn, [b, heads, past, size].
        """
        cache = _cache([each.index_select(0, beam_idx) for each in past])
        output = self.model(
            input_ids=input_ids,
            attention_mask=self._masks(attention_mask, input_ids.shape[1]),
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
        )
        return output.logits, *_tensors(cache)

    def _masks(self, held: Tensor, fresh: int) -> Any:
        """Returns the additive mask of each kind of layer, [b, 1, t, past + t]."""
        places = torch.arange(held.shape[1])
        back = places[-fresh:, None] - places[None]
        seen = (back >= 0) & held[:, None, None].bool()
        config = self.model.config
        window = window_of(config)
        if window is None:
            return _additive(seen)
        kinds = set(getattr(config, "layer_types", None) or ())
        near = seen & (back < window)
        if not kinds:
            return _additive(near)
        masks = {"full_attention": seen, "sliding_attention": near}
        return {kind: _additive(masks[kind]) for kind in kinds}


def convert(module: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """Returns a language model of transformers as a stateful `openvino.Model`.

    Args:
        module: all its layers are attention.
        inputs: of which `input_ids` [b, t] is the example.
    """
    import openvino

    ids = inputs["input_ids"]
    rows, count = ids.shape
    past = _tensors(module(input_ids=ids[:, :PAST], use_cache=True).past_key_values)
    given = {
        "input_ids": ids[:, PAST:],
        "attention_mask": torch.ones_like(ids),
        "position_ids": torch.arange(PAST, count).repeat(rows, 1),
        KEPT: torch.arange(count - PAST),
        ROWS: torch.arange(rows, dtype=torch.int32),
    }
    model = openvino.convert_model(Decoder(module), example_input={**given, "past": past})
    for port, name in zip(model.inputs, given, strict=False):
        port.get_tensor().set_names({name})
    _keep_inside(model, past, len(given))
    window = getattr(module.config, "max_position_embeddings", None) or sys.maxsize
    model.set_rt_info(str(window), WINDOW)
    return model


def _keep_inside(model: Any, past: Sequence[Tensor], first: int) -> None:
    """Makes inputs from the `first` on, and the outputs after the logits, the model's state.

    Before the first call a state is empty: OpenVINO is to take that from the batch at hand.
    """
    import numpy as np
    from openvino import Type, opset13
    from openvino._offline_transformations import apply_make_stateful_transformation

    pairs, shapes = {}, {}
    for k, tensor in enumerate(past):
        before, after = model.inputs[first + k], model.outputs[1 + k]
        before.get_tensor().set_names({f"past.{k}"})
        after.get_tensor().set_names({f"present.{k}"})
        shapes[before] = [-1, tensor.shape[1], -1, tensor.shape[3]]
        pairs[f"past.{k}"] = f"present.{k}"
    model.outputs[0].get_tensor().set_names({"logits"})
    model.reshape(shapes)
    apply_make_stateful_transformation(model, pairs)
    ids = model.input("input_ids")
    zero = opset13.constant(np.array([0], np.int64))
    batch = opset13.gather(opset13.shape_of(ids, Type.i64), zero, opset13.constant(0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            heads, _, size = (node.get_output_partial_shape(0)[d] for d in (1, 2, 3))
            rest = [heads.get_length(), 0, size.get_length()]
            shape = opset13.concat([batch, opset13.constant(np.array(rest, np.int64))], 0)
            empty = opset13.broadcast(opset13.constant(np.float32(0)), shape)
            node.set_arguments([empty.output(0)])
    model.validate_nodes_and_infer_types()


def _cache(tensors: Sequence[Tensor]) -> Any:
    """Returns keys and values of each layer in turn as a cache of transformers.

    Set, not given by `update`: that joins them to an empty tensor, which does not convert.
    """
    from transformers.cache_utils import Cache, DynamicLayer

    made: Any = DynamicLayer
    layers = []
    for keys, values in zip(tensors[::2], tensors[1::2], strict=True):
        layer = made()
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layer.dtype, layer.device = keys.dtype, keys.device
        layers.append(layer)
    return Cache(layers=layers)


def _tensors(cache: Any) -> tuple[Tensor, ...]:
    return tuple(each for layer in cache.layers for each in (layer.keys, layer.values))


def _additive(seen: Tensor) -> Tensor:
    """Returns a mask that is added: transformers' own attention adds booleans as zeros and ones."""
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)
