"""kit's scorer as a model of lm-evaluation-harness: its tasks, our speed.

`python -m kit.measurements.lm_eval run --model kit --model_args variant=hf:./folder --tasks piqa`
is its command line with this model known.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kit.build.runner import Runner
from kit.measurements.sampling import chooser
from kit.measurements.scoring import Request, known_way, score
from kit.measurements.writing import write
from kit.spec.checking import SpecError
from kit.spec.ref import Ref
from kit.spec.spec import Variant
from kit.tasks.harness import EXAMPLES, seeded
from kit.tasks.harness_config import NOT_INSTALLED
from kit.tasks.templates import Template

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.evaluator import evaluate
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError:
    raise SpecError(NOT_INSTALLED) from None

LONGEST = 256
"""Tokens that are written where a task does not say, as there."""


class Read(NamedTuple):
    """What the model read of a request: tokens of its continuation, and whether the beginning of
    its context was cut off.
    """

    tokens: int
    cut: bool


@register_model("kit")
class KitLM(TemplateLM):  # type: ignore[misc]
    """Scores with each shared prefix computed once.

    Args:
        variant: an architecture by name, such as `hf:./folder`, a `Variant`, or one that is ready.
        threads: of this process.
        tokens: computed at once.
        **ignored: what the command line hands to every model, such as `batch_size`.

    Attributes:
        way: how it scores, see `kit.measurements.scoring`.
        read: of each pair of context and continuation so far.
        asked, computed: tokens so far, see `kit.measurements.scoring.Scores`.
    """

    def __init__(
        self, variant: str | Variant | Runner, threads: int = 1, tokens: int = 512, **ignored: Any
    ) -> None:
        super().__init__()
        del ignored
        if isinstance(variant, str):
            variant = Variant(Ref(variant))
        self.runner = variant if isinstance(variant, Runner) else Runner(variant, int(threads))
        self._most = int(tokens)
        if self.runner.model.kind != "causal":
            raise SpecError(f"{self.runner.variant.name} is no language model")
        self._tokenizer: Any = self.runner.model.tokenizer
        self.tokenizer = getattr(self._tokenizer, "library", None)
        self._window = self.runner.model.window or 2048
        self.way = known_way(self.runner).name
        self.read: dict[tuple[str, ...], Read] = {}
        self.asked = self.computed = 0

    @property
    def eot_token_id(self) -> int:
        return int(self._tokenizer.separator_id)

    @property
    def max_length(self) -> int:
        return self._window

    @property
    def tokenizer_name(self) -> str:
        return str(self.runner.variant.name)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **ignored: Any
    ) -> list[int]:
        """Returns a text's tokens, after what the tokenizer opens a text with."""
        del ignored
        opening = [] if add_special_tokens is False else self._tokenizer.opening
        return [*opening, *self._tokenizer.encode([string])[0]]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **ignored: Any
    ) -> list[tuple[float, bool]]:
        del ignored
        made = []
        for texts, context, continuation in requests:
            most = max(self._window + 1 - len(continuation), 1)
            if texts is not None:
                self.read[texts] = Read(len(continuation), len(context) > most)
            made.append(Request(tuple(context[-most:]), tuple(continuation)))
        found = score(self.runner, made, self._most)
        self.asked, self.computed = self.asked + found.asked, self.computed + found.computed
        answers = [*zip(found.loglikelihood.tolist(), found.greedy.tolist(), strict=True)]
        for request, answer in zip(requests, answers, strict=True):
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], answer)
        return answers

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Returns the log-likelihood of each text, in windows of the model's length."""
        del disable_tqdm
        owners, windows = [], []
        for place, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0])
            pairs = get_rolling_token_windows(tokens, self.prefix_token_id, self._window, 1)
            for context, continuation in map(make_disjoint_window, pairs):
                owners.append(place)
                windows.append((None, context, continuation))
        sums = [0.0] * len(requests)
        for place, (value, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            sums[place] += value
        return sums

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Returns what the model writes after each prompt, greedily."""
        del disable_tqdm
        together: dict[Template, list[int]] = {}
        for place, request in enumerate(requests):
            asked = request.args[1]
            if asked.get("do_sample"):
                raise SpecError("the task samples its answers; kit's model writes greedily")
            until = asked.get("until") or []
            stops = [until] if isinstance(until, str) else list(until)
            longest = int(asked.get("max_gen_toks", LONGEST))
            how = Template("", stops=tuple(stops), longest=longest)
            together.setdefault(how, []).append(place)
        answers = [""] * len(requests)
        for how, places in together.items():
            prompts = [self.tok_encode(requests[place].args[0]) for place in places]
            found = write(self.runner, prompts, how, [chooser()] * len(places))
            for place, each in zip(places, found, strict=True):
                answers[place] = each.text
        return answers


def run_task(
    model: KitLM, task: Any, places: Sequence[int]
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """Returns the library's numbers of a task, `metric,filter` each, and what it logs of each item.

    Args:
        model: that answers.
        task: the library's, which stays as it is.
        places: of the documents that are asked, in any order.
    """
    own, name = copy.copy(task), str(task.task_name)
    own.set_fewshot_seed(EXAMPLES)
    chosen = sorted(places)
    some = {name: chosen} if len(chosen) < len(task.eval_docs) else None
    with seeded():
        found = evaluate(model, {"tasks": {name: own}}, samples=some, bootstrap_iters=0)
    return found["results"][name], found["samples"][name]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
