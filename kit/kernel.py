"""Runs a notebook outside Jupyter and shows what it prints while it runs."""

from __future__ import annotations

import html
import re
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode


class _ThisPython(KernelSpecManager):
    """Knows one kernel: this interpreter, whatever kernels the user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name=kernel_name,
            language="python",
        )


class Client(NotebookClient):
    """Executes a notebook in the working directory and copies its texts to the terminal.

    Args:
        notebook: gets the outputs of the cells that ran.
        sockets: a folder for the kernel's sockets, its path short.
        every: seconds between lines of a progress bar where the output is no terminal.
    """

    def __init__(self, notebook: NotebookNode, sockets: Path, every: float) -> None:
        super().__init__(notebook, kernel_name="python3", store_widget_state=False)
        self._every = every
        self._last = 0.0
        self._sockets = sockets

    def create_kernel_manager(self) -> KernelManager:
        """Makes a kernel of this interpreter that listens on files, not on network ports."""
        # TCP would be open to every user of the machine, and ipykernel warns of it
        self.km = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_ThisPython(),
            transport="ipc",
            connection_file=str(self._sockets / "kernel.json"),
        )
        return self.km

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """Shows a message of the kernel, then keeps it as nbclient does."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            stream = sys.stdout if content["name"] == "stdout" else sys.stderr
            stream.write(content["text"])
            stream.flush()
        elif msg["msg_type"] in ("execute_result", "display_data"):
            data = content["data"]
            if not any(kind.startswith(("image/", "application/")) for kind in data):
                print(data.get("text/plain", ""), flush=True)
        elif msg["msg_type"] == "comm_msg":
            self._show_bar(content["data"].get("state", {}).get("value"))
        return super().process_message(msg, cell, cell_index)

    def _show_bar(self, text: Any) -> None:
        """Shows the text of tqdm's widget: `3/10 [00:05<00:11, 1.6s/run]`."""
        if not isinstance(text, str) or "[" not in text:
            return
        plain = " ".join(html.unescape(text).split())  # tqdm pads with figure spaces
        finished = re.match(r"(\d+)/\1 ", plain) is not None
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{plain}" + ("\n" if finished else ""))
        elif finished or time.monotonic() - self._last > self._every:
            self._last = time.monotonic()
            sys.stderr.write(f"{plain}\n")
        sys.stderr.flush()
