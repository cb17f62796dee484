"""The configuration of a task of lm-evaluation-harness: found by name, read from YAML, told."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from kit.spec.checking import SpecError, shown, suggest

Config = dict[str, Any]
NOT_INSTALLED = "lm-evaluation-harness is not installed: pip install 'kit[lm-eval]'"
READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
SPLITS = ("training_split", "validation_split", "test_split")


def read_config(
    task: str | Path | Mapping[str, Any],
    include_path: str | Path | Sequence[str | Path] = (),
    data_files: Mapping[str, str | Path] | None = None,
) -> Config:
    """Returns the configuration of one task; see `kit.tasks.lm_eval`.

    Raises:
        SpecError: lm-evaluation-harness is not installed, no such task or file, a group of tasks,
            or data files that the task has no split for.
    """
    try:
        from lm_eval.tasks._yaml_loader import load_yaml
    except ImportError:
        raise SpecError(NOT_INSTALLED) from None
    if isinstance(task, Mapping):
        config = dict(task)
    elif isinstance(task, str | Path):
        path = _file(task)
        path = _found(str(task), include_path) if path is None else path
        try:
            config = load_yaml(path)
        except Exception as error:  # of YAML, of a file it includes, of a function it names
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise SpecError(f"{path.name}: lm-evaluation-harness cannot read it: {why}") from error
    else:
        raise SpecError(
            f"task={shown(task)}: expected a name of lm-evaluation-harness, the path of a YAML "
            "file, or a mapping"
        )
    if "group" in config or isinstance(config.get("task"), list):
        members = [_name(each) for each in config.get("task", ())]
        raise _is_group(config.get("group", task), members)
    if not isinstance(config.get("task"), str):
        raise SpecError(f"{shown(task)} does not say the name of its task; expected `task: a_name`")
    return config if data_files is None else config | _own_data(config, data_files)


def _file(task: str | Path) -> Path | None:
    """Returns the path of a YAML file; None for what is no path."""
    if isinstance(task, str) and Path(task).suffix not in (".yaml", ".yml"):
        return None
    path = Path(task).expanduser()
    if not path.is_file():
        raise SpecError(
            f"{shown(str(task))}: there is no such file; expected a YAML file of a task"
        )
    return path


def _found(name: str, include_path: str | Path | Sequence[str | Path]) -> Path:
    """Returns the YAML file of a task by its name."""
    given = [include_path] if isinstance(include_path, str | Path) else include_path
    folders = tuple(map(str, given))
    for folder in folders:
        if not Path(folder).is_dir():
            raise SpecError(f"include_path={shown(folder)}: there is no such folder")
    own = _index(folders) if folders else {}
    known = own if name in own else _index(())
    if name not in known:
        near = difflib.get_close_matches(name, [*own, *known], n=5, cutoff=0.5)
        raise SpecError(suggest(name, near, "task of lm-evaluation-harness, near ones alone"))
    entry = known[name]
    if entry.kind.name == "TAG":
        raise _is_group(name, sorted(entry.tags))
    return Path(entry.yaml_path)


def _index(folders: Sequence[str]) -> Mapping[str, Any]:
    """Returns what there is in folders, or where there are none in the library's own, by name."""
    from lm_eval.tasks import TaskManager

    if not folders:
        return _library_index()
    found: Mapping[str, Any] = TaskManager(
        include_path=[*folders], include_defaults=False
    ).task_index
    return found


@functools.cache
def _library_index() -> Mapping[str, Any]:
    """Returns the library's own tasks by name: some 14,000 files, which take seconds to read."""
    from lm_eval.tasks import TaskManager

    found: Mapping[str, Any] = TaskManager().task_index
    return found


def _name(member: Any) -> str:
    return str(member.get("task", member.get("group"))) if isinstance(member, dict) else str(member)


def _is_group(name: Any, members: Sequence[str]) -> SpecError:
    """Returns the refusal of a group: each member has documents, prompts and metrics of its own."""
    shorter = ", ".join(map(repr, members[:8]))
    more = f" and {len(members) - 8} more" if len(members) > 8 else ""
    return SpecError(
        f"{shown(str(name))} is a group of tasks; expected its members one by one, "
        f"tasks=[kit.tasks.lm_eval(each) for each in members], which are {shorter}{more}"
    )


def _own_data(config: Config, data_files: Mapping[str, str | Path]) -> Config:
    """Returns the keys of a configuration that reads its splits from files.

    Splits that no file is given of are there no longer: of these nobody reads.
    """
    named = {key: config[key] for key in SPLITS if config.get(key)}
    for split, file in data_files.items():
        if split not in named.values():
            raise SpecError(suggest(split, named.values(), f"split of {config['task']}"))
        if Path(file).suffix not in READERS or not Path(file).is_file():
            raise SpecError(
                f"data_files[{split!r}] is {shown(str(file))}; expected a file that is there, one "
                f"of {', '.join(READERS)}"
            )
    readers = {READERS[Path(file).suffix] for file in data_files.values()}
    tested = {config.get("test_split"), config.get("validation_split")} & {*data_files}
    if len(readers) != 1 or not tested:
        raise SpecError(
            f"data_files={shown({key: str(file) for key, file in data_files.items()})}: expected "
            f"files of one kind, with the split that {config['task']} is tested on"
        )
    kept = {key: split if split in data_files else None for key, split in named.items()}
    files = {split: str(file) for split, file in data_files.items()}
    return kept | {
        "dataset_path": readers.pop(),
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }


def told(value: Any) -> Any:
    """Returns a value of a configuration or a document as plain values, functions as their text."""
    if isinstance(value, Mapping):
        return {str(key): told(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return told(vars(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [told(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        return _text(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _text(function: Callable[..., Any]) -> str:
    """Returns the text of a function; of one beside a YAML file all of its module, as it uses."""
    home, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    module = sys.modules.get(home)
    if module is not None and module in own_modules():
        return f"{name}\n{inspect.getsource(module)}"
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return f"{home}.{name}"


def own_modules() -> list[ModuleType]:
    """Returns the modules that the library loaded from files beside YAML files, as it marks them.

    No other process could import them by their names.
    """
    return [
        each for each in [*sys.modules.values()] if "__mtime__" in getattr(each, "__dict__", ())
    ]
