"""Tasks: named data with a train, a validation and a test split, and shifts, near and far.

Importing this package registers the tasks that the kit brings; it loads no data.
"""

from kit.tasks import digits, language, probes, quizzes, sentiment, written
from kit.tasks.harness import lm_eval
from kit.tasks.own import task_from_frame, task_from_text
from kit.tasks.own_choices import choices_from_frame, generation_from_frame
from kit.tasks.prepared import check_split, chosen_splits, describe, modality, splits_of
from kit.tasks.task import Task, load

__all__ = [
    "Task",
    "check_split",
    "choices_from_frame",
    "chosen_splits",
    "describe",
    "digits",
    "generation_from_frame",
    "language",
    "lm_eval",
    "load",
    "modality",
    "probes",
    "quizzes",
    "sentiment",
    "splits_of",
    "task_from_frame",
    "task_from_text",
    "written",
]
