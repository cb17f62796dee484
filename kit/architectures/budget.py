"""What an architecture costs and which width spends a given budget.

Non-embedding parameters are all parameters less the matrices whose size grows with the vocabulary
or the longest input: every embedding (`kit.architectures.matrices.embeddings`), and the output
matrix that makes logits of hidden states (Kaplan et al. 2020). They set the compute of a token and
are what a budget holds equal.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kit.architectures.matrices import embeddings, matrices
from kit.architectures.preprocessing import positions
from kit.spec import registry
from kit.spec.checking import SpecError, Undefined
from kit.spec.ref import Ref
from kit.spec.spec import Budget

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 0.03
"""Largest relative distance from a parameter budget that still counts as equal."""

LARGEST_WIDTH = 65_536


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Returns the number of all parameters and of those that are no embedding.

    The output matrix is `get_output_embeddings()` where the module has it, else the last
    registered `nn.Linear` with as many outputs as the largest embedding has rows. Tied matrices
    count once.
    """
    from torch import nn

    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    excluded = set(embeddings(module))
    output = _output_matrix(module, max((part.num_embeddings for part in tables), default=0))
    if output is not None:
        excluded |= {id(parameter) for parameter in output.parameters()}
    sizes = {id(parameter): parameter.numel() for parameter in module.parameters()}
    for matrix in matrices(module):  # of a packed layer the weights, not their codes and scales
        sizes |= {id(tensor): 0 for tensor in matrix.tensors}
        sizes[id(matrix.tensors[0])] = matrix.count
    total = sum(sizes.values())
    return total, total - sum(size for key, size in sizes.items() if key in excluded)


def _output_matrix(module: Any, vocab_size: int) -> nn.Module | None:
    from torch import nn

    if hasattr(module, "get_output_embeddings"):
        found: nn.Module | None = module.get_output_embeddings()
        return found
    linears = [
        part
        for part in module.modules()
        if isinstance(part, nn.Linear) and part.out_features == vocab_size
    ]
    return linears[-1] if linears else None


def flops_per_token(module: nn.Module, inputs: Mapping[str, Any]) -> float:
    """Returns the floating-point operations of one forward pass over the tokens of a batch.

    Counted by `torch.utils.flop_counter`: matrix products and convolutions, a multiplication and
    an addition being two. Fused kernels that the counter does not see (attention, LSTM and the
    experts of a mixture on a CPU) are replaced by their unfused form while it counts.
    Training costs three times as much: the backward pass makes two products for each of the
    forward pass.

    Args:
        module: of any kind.
        inputs: keyword arguments of one batch; an image counts as one token.

    Raises:
        Undefined: the counter saw no operation that it knows.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    training = module.training
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # restoring oneDNN's flags warns about a GPU's
        with (
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            _visible(module),
            FlopCounterMode(display=False) as counter,
        ):
            module(**inputs)
    module.train(training)
    flops = counter.get_total_flops()
    if not flops:
        raise Undefined(f"{type(module).__name__} makes no operation that the counter knows")
    return float(flops) / positions(inputs)


@contextlib.contextmanager
def _visible(module: nn.Module) -> Iterator[None]:
    """Shows the counter every product while the block lasts.

    Transformers' mixtures run their experts one after the other, and parameters need no gradient:
    the counter's hooks fail on one that a layer is given as its input.
    """
    parts: list[Any] = [p for p in module.modules() if hasattr(p, "set_experts_implementation")]
    fused = [(part, part.get_experts_implementation()) for part in parts]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for part in parts:
        part.set_experts_implementation("eager")
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for part, before in fused:
            part.set_experts_implementation(before)
        for parameter in trained:
            parameter.requires_grad_(True)


def solve_width(ref: Ref, budget: Budget, vocab_size: int) -> Ref:
    """Returns the Ref with the width, then the feed-forward size, that spend the budget.

    Sizes are counted on the meta device. First the width whose default proportions come nearest,
    then the feed-forward size (a multiple of 8 where that is near enough) makes up the rest. What
    the Ref fixes stays fixed. A Ref without anything to solve comes back as it is: a budget
    without `parameters`, or an architecture that has no width (pretrained, n-grams, predictors).

    Raises:
        SpecError: nothing within 3% of the budget can be built; the nearest is named.
    """
    ref = registry.architectures.canonical(ref)
    function = registry.architectures.get(ref.name).function
    parameters = inspect.signature(function).parameters
    if budget.parameters is None or "width" not in parameters:
        return ref
    count = _Counter(ref, vocab_size)
    step = int(registry.architectures.get(ref.name).traits.get("width_multiple", 1))
    if "width" not in ref.args:
        ref = ref.replace(width=_nearest_width(count, budget.parameters, step))
    if "feed_forward" in parameters and "feed_forward" not in ref.args:
        ref = _with_feed_forward(ref, count, budget.parameters)
    size = count(ref.args["width"], ref.args.get("feed_forward"))
    if size is None or abs(size / budget.parameters - 1) > TOLERANCE:
        raise SpecError(
            f"{ref} has {size:,} non-embedding parameters, the nearest to the budget of "
            f"{budget.parameters:,}; expected at most {TOLERANCE:.0%} away: change the budget or "
            "the depth"
        )
    return ref


class _Counter:
    """Non-embedding parameters of an architecture by its open arguments, remembered."""

    def __init__(self, ref: Ref, vocab_size: int) -> None:
        self.function = registry.architectures.get(ref.name).function
        self.fixed = dict(ref.args) | {"vocab_size": vocab_size}
        self.sizes: dict[tuple[int, int | None], int | None] = {}
        self.refusal = ""

    def __call__(self, width: int, feed_forward: int | None = None) -> int | None:
        """Returns the number, or None where the function refuses the size with ValueError."""
        import torch

        key = (width, feed_forward)
        if key not in self.sizes:
            args = self.fixed | {"width": width}
            if feed_forward is not None:
                args["feed_forward"] = feed_forward
            try:
                with torch.device("meta"):
                    self.sizes[key] = count_parameters(self.function(**args))[1]
            except ValueError as error:
                self.sizes[key], self.refusal = None, str(error)
        return self.sizes[key]


def _nearest_width(count: _Counter, target: int, step: int) -> int:
    """Returns the buildable width with the size nearest to the target, by bisection."""

    def at_or_above(width: int) -> tuple[int, int]:
        for candidate in range(width, width + 256):
            size = count(candidate * step)
            if size is not None:
                return candidate, size
        raise SpecError(
            f"no width from {width * step} to {(width + 255) * step} can be built: {count.refusal}"
        )

    low, high = 1, 2
    while high * step <= LARGEST_WIDTH and at_or_above(high)[1] < target:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        width, size = at_or_above(middle)
        if size >= target:
            high = middle
        else:
            low = width + 1
    at_or_above(low)
    sizes = {width: size for (width, _), size in count.sizes.items() if size}
    return min(sizes, key=lambda width: (abs(math.log(sizes[width] / target)), width))


def _with_feed_forward(ref: Ref, count: _Counter, target: int) -> Ref:
    """Returns the Ref with the feed-forward size that meets the target; size is linear in it."""
    width = ref.args["width"]
    at_8, at_16 = count(width, 8), count(width, 16)
    if at_8 is None or at_16 is None or at_16 <= at_8:
        return ref
    exact = 8 + (target - at_8) / ((at_16 - at_8) / 8)
    sizes = {}
    for multiple in (8, 1):
        feed_forward = max(multiple, round(exact / multiple) * multiple)
        sizes[feed_forward] = count(width, feed_forward)
        size = sizes[feed_forward]
        if size is not None and abs(size / target - 1) <= TOLERANCE:
            return ref.replace(feed_forward=feed_forward)
    return ref.replace(feed_forward=feed_forward)
