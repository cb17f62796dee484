"""A task of lm-evaluation-harness as a task of the kit: its documents, prompts and answers.

Where each document offers answers of which some are right, the items have these too, and all that
the kit knows of answers on offer applies; what that library computes itself is measured of any.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np

from kit.spec.checking import SpecError, check_name, checked, shown, unboxed
from kit.spec.fields import Count
from kit.spec.ref import Ref, content_hash
from kit.tasks.content import clean
from kit.tasks.harness_config import READERS, Config, own_modules, read_config, told
from kit.tasks.own import registered
from kit.tasks.prepare import Prepared

if TYPE_CHECKING:
    import pandas as pd

RANDOM, NUMPY, EXAMPLES = 0, 1234, 1234
"""Seeds that lm-evaluation-harness sets where it is not told others."""


def lm_eval(
    task: str | Path | Mapping[str, Any],
    *,
    include_path: str | Path | Sequence[str | Path] = (),
    data_files: Mapping[str, str | Path] | None = None,
    shots: int | None = None,
    name: str | None = None,
) -> Ref:
    """Registers a task of lm-evaluation-harness, which runs unchanged in the kit's scorer.

    Prompts, examples, filters, metrics and their aggregation are that library's: each metric is a
    row of `lm_eval_score`, `lm_eval_loss` or `lm_eval_other` (more is better, less is, neither),
    its name and filter in the condition. Where each document has answers on offer of which some are
    right, `acc`, `choice_margin`, flips and whatever else the kit has for such are there beside.

    Its test part, or where there is none its validation part, is the task's test split. No document
    is left out; one that stands there several times is several items of one cluster.

    Args:
        task: its name there, the path of a YAML file, or what such a file holds.
        include_path: folders with YAML files of your own, where it is named in one of them.
        data_files: split -> a file of its documents (.jsonl, .json, .csv or .parquet) in the place
            of those of a hub, with the same fields: works without a network.
        shots: examples before each document; what the task says where not given.
        name: for tables; `lm_eval:` and its name there where not given.

    Returns:
        The reference to use as a task.

    Raises:
        SpecError: lm-evaluation-harness is not installed, no such task, a group of tasks, documents
            that cannot be read, or a task that the kit's scorer cannot run.
    """
    config = read_config(task, include_path, data_files)
    if shots is not None:
        shots = checked(Count, shots, f"shots={shown(shots)}: expected a whole number from 1 on")
        if config.get("num_fewshot") == 0:
            raise SpecError(f"shots={shots}: {config['task']} says itself that it has no examples")
        config["num_fewshot"] = shots
    made = build(config)
    called = check_name(name or f"lm_eval:{config['task']}", "the name of a task")
    rows = rows_of(made)
    splits = {"train": rows.iloc[:0], "validation": rows.iloc[:0], "test": rows}
    return registered(
        called,
        Prepared(splits, {called: {}}),
        (),
        carried={"harness": lambda: made},
        kind="lm_eval_choices" if "choices" in rows else "lm_eval",
        labels=(),
        groups=(),
        definition=definition(made),
    )


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Draws of Python's and numpy's own generators are that library's, while the block lasts."""
    before, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(RANDOM)
    np.random.seed(NUMPY)  # noqa: NPY002 (which its tasks draw from)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(arrays)  # noqa: NPY002


def build(config: Config) -> Any:
    """Returns lm-evaluation-harness's task of a configuration, its documents read.

    Raises:
        SpecError: they cannot be read, or the kit's scorer cannot run it.
    """
    from lm_eval.tasks import TaskManager

    name, source = config["task"], config.get("dataset_path")
    try:
        with seeded():
            loaded = TaskManager(include_defaults=False).load([dict(config)])["tasks"]
            (task,) = loaded.values()
            count = len(task.eval_docs)
    except Exception as error:  # of the hub, of its reader of data, of a template
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        advice = (
            "without a network give them as files, data_files={'test': 'documents.jsonl'}, or in "
            "a YAML file of your own with `dataset_path: json` and "
            "`dataset_kwargs: {data_files: ...}`"
        )
        if source in READERS.values():  # they are files already
            advice = "look at the files, and at the fields that doc_to_text and its like name"
        raise SpecError(
            f"lm-evaluation-harness cannot make the task {name}, whose documents are "
            f"{shown(source)} ({why}); {advice}"
        ) from error
    for module in own_modules():  # functions of it go to workers with the task
        cloudpickle.register_pickle_by_value(module)
    if task.get_config("num_fewshot") is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(EXAMPLES)
    if not count:
        raise SpecError(f"the task {name} of lm-evaluation-harness has no documents to test on")
    for trait, what in (("UNSAFE_CODE", "runs code that a model wrote"), ("MULTIMODAL", "shows "
                        "images or sounds")):  # fmt: skip
        if getattr(task, trait, False):
            raise SpecError(f"the task {name} of lm-evaluation-harness {what}; kit does not")
    return task


def rows_of(task: Any) -> pd.DataFrame:
    """Returns an item a document: `id`, `cluster`, `text` (without examples), `place` among them.

    Where each has two answers on offer or more, and one that is right, also `choices` and `label`,
    the places of the right ones.
    """
    import pandas as pd

    made: list[dict[str, Any]] = []
    copies: Counter[str] = Counter()
    for place, doc in enumerate(task.eval_docs):
        content = content_hash(told(doc))
        context = task.fewshot_context(doc, num_fewshot=0, gen_prefix=task.doc_to_prefix(doc))
        asked = task.construct_requests(doc=doc, ctx=context, metadata=(task.task_name, place, 1))
        asked = asked if isinstance(asked, list) else [asked]
        made.append({
            "id": content_hash(content, copies[content]),
            "cluster": content,
            "text": clean("\n".join(_texts(asked)), strip=False)[0],
            "place": place,
            **_offer(task, doc),
        })  # fmt: skip
        copies[content] += 1
    rows = pd.DataFrame(made)
    sound = task.OUTPUT_TYPE == "multiple_choice" and all(
        len(each["choices"]) > 1 and each["label"] for each in made
    )
    return rows if sound else rows.drop(columns=["choices", "label"])


def _texts(asked: Sequence[Any]) -> list[str]:
    """Returns the contexts of a document's requests, or what is scored after nothing, each once."""
    contexts = dict.fromkeys(request.args[0] for request in asked)
    return [each for each in contexts if each] or [str(asked[0].args[-1])]


def _offer(task: Any, doc: Any) -> dict[str, list[Any]]:
    """Returns the answers on offer and the places of the right ones, as that library reads them."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return {"choices": [], "label": []}
    offer = list(task.doc_to_choice(doc))
    right = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    marked = [unboxed(each) for each in (right if isinstance(right, list) else [right])]
    places = [offer.index(each) if each in offer else each for each in marked]
    there = {int(each) for each in places if isinstance(each, int) and 0 <= each < len(offer)}
    return {"choices": [clean(each, strip=False)[0] for each in offer], "label": sorted(there)}


def definition(task: Any) -> str:
    """Returns a hash of what a task does with its documents, and of the examples it draws from.

    Functions of its configuration count by their text, with all else of a file beside a YAML file.
    """
    import lm_eval as library

    data = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset", "metadata")
    config = {k: each for k, each in vars(task.config).items() if k not in data}
    drawn = [*(task.fewshot_docs() or ())] if task.get_config("num_fewshot") else []
    return content_hash(library.__version__, str(task.VERSION), told(config), told(drawn))
