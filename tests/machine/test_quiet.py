"""Importing a model's libraries says nothing, and silences nothing of the user's."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr


def test_models_are_imported_without_a_line_and_nothing_stays_silenced() -> None:
    said = run(
        "import logging, warnings\n"
        "from kit.machine.quiet import import_quietly\n"
        "import_quietly()\n"
        "from transformers import BertModel\n"
        "import torchao.quantization\n"
        "warnings.warn('the user warns')\n"
        "logging.warning('the user logs')\n"
        "logging.getLogger('torchao').warning('Failed to load x/_C_y.so: later')\n"
    )
    wanted = ("UserWarning: the user warns", "the user logs", "Failed to load x/_C_y.so: later")
    assert all(line in said for line in wanted)
    assert "KernelPreference" not in said and said.count("Failed to load") == 1
    assert len(said.splitlines()) == 3, said
