"""Writes requirements.lock and environment.yml from pyproject.toml and what is installed.

After a pin was changed in pyproject.toml: install it in .venv, run the tests, then
`.venv/bin/python .ci/lock.py`. tests/test_project.py checks that the three files agree.
"""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = """\
# What `make` installs after torch: the pins of pyproject.toml and whatever they bring, pinned too.
# Written by .ci/lock.py.
"""
ENVIRONMENT = """\
# For conda and mamba: `conda env create -f environment.yml`. Written by .ci/lock.py.
name: kit
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
      - -c requirements.lock
"""


def closure(direct: list[Requirement]) -> dict[str, str]:
    """Installed versions of the requirements and of all that they need on this machine."""
    versions: dict[str, str] = {}
    todo = [(need.name, extra) for need in direct for extra in (*need.extras, "")]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        found = distribution(name)
        versions[canonicalize_name(name)] = found.version.partition("+")[0]
        needs = [Requirement(text) for text in found.requires or []]
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                fresh = {(need.name, each) for each in (*need.extras, "")} - seen
                seen |= fresh
                todo += fresh
    return versions


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    direct = [Requirement(pin) for pin in pins]
    versions = closure(direct)
    for need in direct:
        if not need.specifier.contains(versions[canonicalize_name(need.name)]):
            raise SystemExit(
                f"{need} is pinned, {versions[canonicalize_name(need.name)]} installed"
            )
    # torch is installed before by hand or by make, pip comes with the environment
    lines = [
        f"{name}=={version}\n"
        for name, version in sorted(versions.items())
        if name not in ("torch", "pip")
    ]
    (ROOT / "requirements.lock").write_text(LOCK + "".join(lines))
    listed = [f"      - {each}\n" for each in [*pins, "-e ."]]
    (ROOT / "environment.yml").write_text(ENVIRONMENT + "".join(listed))


if __name__ == "__main__":
    main()
