"""The files around the code agree with each other and carry nothing of one machine."""

import ast
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Called by name, or needed by a library where it is called: nothing imports them.
NOT_IMPORTED = {
    "accelerate",
    "ipykernel",
    "ipywidgets",
    "jupyterlab",
    "onnx",
    "onnxruntime-genai",
    "onnxscript",
}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def files() -> list[Path]:
    """Files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


def pins(lines: list[str]) -> dict[str, str]:
    """Versions by canonical name; anything but `name==version` fails."""
    found = {}
    for line in lines:
        name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
        assert canonicalize_name(name) not in found, f"{name} twice"
        found[canonicalize_name(name)] = version
    return found


def direct() -> dict[str, str]:
    about = project()
    return pins([*about["dependencies"], *about["optional-dependencies"]["dev"]])


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins([line for line in lines if not line.startswith("#")])


def test_the_lock_holds_the_pins_and_leaves_torch_to_the_makefile():
    pinned = direct()
    torch = pinned.pop("torch")
    assert "torch" not in lock()
    assert f" torch=={torch}\n" in (ROOT / "Makefile").read_text()
    assert {name: lock().get(name) for name in pinned} == pinned


def test_environment_yml_says_the_same():
    text = (ROOT / "environment.yml").read_text()
    lines = re.findall(r"^      - (.+)$", text, re.MULTILINE)
    assert lines[0] == "-c requirements.lock" and lines[-1] == "-e ."
    assert pins(lines[1:-1]) == direct()
    python = re.search(r"^  - python=(\S+)$", text, re.MULTILINE).group(1)
    assert f">={python}" == project()["requires-python"]


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is written on Linux")
def test_the_lock_is_closed():
    """Whatever a locked package needs here is locked too."""
    locked, asked = lock(), {(name, "") for name in direct()} - {("torch", "")}
    todo = list(asked)
    while todo:
        name, extra = todo.pop()
        for text in distribution(name).requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                child = canonicalize_name(need.name)
                assert child in locked or child in ("torch", "pip"), f"{name} needs {child}"
                for wanted in {(child, each) for each in (*need.extras, "")} - asked:
                    asked.add(wanted)
                    todo.append(wanted)


def test_what_is_imported_is_declared_and_what_is_declared_is_used():
    # built from source, so that its extra alone installs it
    owners = {"llama_cpp": ["llama-cpp-python"], **packages_distributions()}
    imported = set()
    for file in (ROOT / "kit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            imported |= {name.partition(".")[0] for name in names}
    imported -= {*sys.stdlib_module_names, "kit"}
    used = {canonicalize_name(owners[name][0]) for name in imported}
    extras = {name: each for name, each in project()["optional-dependencies"].items()
              if name != "dev"}  # fmt: skip
    declared = set(pins(project()["dependencies"])).union(*map(pins, extras.values()))
    assert used <= declared, "import without a pin"
    assert declared - used <= NOT_IMPORTED, "pin without an import"


def test_nothing_of_one_machine_or_one_registry():
    hosts = (
        "pypi" + r"\.org",
        "python" + "hosted",
        "anaconda" + r"\.(org|com)",
        r"download\.pytorch",
    )
    homes = "|".join(("home", "Users", "root", "opt", "work", "workspace"))
    pattern = re.compile("|".join(hosts) + rf"|(?<![\w.~*-])/(?:{homes})/\w")
    for file in files():
        if file.suffix in {".png", ".svg", ".npz", ".parquet"}:
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            assert not pattern.search(line), f"{file.relative_to(ROOT)}:{number}: {line.strip()}"


def test_notebooks_carry_no_outputs():
    for file in files():
        if file.suffix == ".ipynb":
            for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
                assert not cell.get("outputs") and not cell.get("execution_count"), file.name


def test_changelog_has_an_unreleased_part_of_one_line_entries():
    text = (ROOT / "CHANGELOG.md").read_text()
    entries = text.partition("\n## Unreleased\n")[2].partition("\n## ")[0].split("\n")
    entries = [line for line in entries if line]
    assert entries and all(line.startswith("- ") for line in entries)


def test_readme_names_every_module_once():
    """The annotated tree: a fenced block with a line `kit/`, what it holds indented below."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^( *)kit/.*\n((?:\1 +.*\n)+)", text, re.MULTILINE).group(2)
    named = re.findall(r"(?<![\w/])\w+(?:\.py|\.toml|/)(?![\w/])", tree)
    inside = [file.relative_to(ROOT / "kit") for file in files() if (ROOT / "kit") in file.parents]
    there = {file.name for file in inside} - {"__init__.py", "py.typed"}
    there |= {f"{folder}/" for file in inside for folder in file.parts[:-1]}
    assert set(named) - {"__init__.py"} == there


def test_the_pre_commit_hooks_and_make_lint_run_the_same_tools():
    make = set(
        re.findall(
            r"\$\(BIN\)/([\w-]+)",
            re.search(
                r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
            ).group(1),
        )
    )
    hooks = set(
        re.findall(r"entry: \.venv/bin/([\w-]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    )
    assert make == hooks


def test_the_readme_shows_the_numbers_that_are_published() -> None:
    from kit.report.placeholders import fill_markdown, names_in
    from kit.report.publish import verdict_of
    from kit.store import results

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert names_in(text) >= {"02_sentiment", "03_architectures"}
    for name in names_in(text):
        table = ROOT / "results" / f"{name}.csv"
        verdict = verdict_of(table.with_suffix(".md"))
        assert fill_markdown(text, name, results.read_table(table), verdict) == text


def prose(text: str) -> str:
    """Markdown without placeholders, code, comments and what links and images point to."""
    from kit.report.placeholders import without

    text = re.sub(r"^```.*?^```", "", without(text), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|<!--.*?-->|\]\([^)]*\)", "", text, flags=re.DOTALL)


def test_no_number_in_the_readmes_prose_is_typed() -> None:
    assert prose("a 3 `4` <!--= x y | % -->5%<!--/--> [b6](7)\n```\n8\n```") == "a 3   [b6\n"
    for line in prose((ROOT / "README.md").read_text(encoding="utf-8")).splitlines():
        assert not re.search(r"\d", line), f"a number needs a placeholder, or words: {line.strip()}"


def verdict_texts(code: str) -> list[str]:
    """The texts that a notebook's verdict is put together from, formats of numbers included."""
    made: dict[str, list[ast.expr]] = {}
    todo: list[ast.expr] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            made.setdefault(node.targets[0].id, []).append(node.value)
        called = getattr(node, "func", None)
        if isinstance(called, ast.Attribute) and called.attr == "publish":
            todo += [word.value for word in node.keywords if word.arg == "verdict"]
        if isinstance(called, ast.Attribute) and called.attr == "append":
            made.setdefault(getattr(called.value, "id", ""), []).extend(node.args)
    texts = []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
        todo += made.pop(node.id, []) if isinstance(node, ast.Name) else parts(node)
    return texts


def parts(node: ast.expr) -> list[ast.expr]:
    """The expressions whose texts stand in an expression's text; those that only choose do not."""
    if isinstance(node, ast.Call):
        return node.args if getattr(node.func, "attr", "") == "join" else []
    names = {
        ast.JoinedStr: ("values",),
        ast.List: ("elts",),
        ast.Tuple: ("elts",),
        ast.FormattedValue: ("value", "format_spec"),
        ast.BinOp: ("left", "right"),
        ast.IfExp: ("body", "orelse"),
        ast.GeneratorExp: ("elt",),
        ast.ListComp: ("elt",),
    }
    found = [getattr(node, name) for name in names.get(type(node), ())]
    return [one for each in found for one in (each if isinstance(each, list) else [each]) if one]


def test_the_texts_of_a_verdict_are_found() -> None:
    code = """
        lines = [f"one {x:.0%} two {y}"]
        lines.append("three " + four)
        four = ", ".join(f"{n} five" for n in names)
        other = "six"
        kit.publish("01_x", study, verdict=f"{' '.join(lines)} seven")
    """
    found = set(verdict_texts(textwrap.dedent(code)))
    assert {"one ", ".0%", " two ", "three ", " five", " seven"} <= found
    assert "six" not in found


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_no_number_in_a_verdict_is_typed(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    texts = verdict_texts(code)
    assert texts or "verdict=str(" in code, "no text of a verdict was found"
    for text in texts:
        bare = re.sub(r"\{\{.*?(\}\}|$)", "", text)  # a placeholder, or the start of one
        assert not re.search(r"\d", bare), f"a number needs a placeholder: {text}"
