"""Finds a notebook, runs it outside Jupyter and shows what it prints while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_client.utils import run_sync  # type: ignore[attr-defined]
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from kit.spec.checking import SpecError, suggest
from kit.store import disk
from kit.store.store import write_text

PATIENCE = 2.0
"""Seconds that an interrupted kernel has to end before it is killed: it may be deep in C."""
_EVERY = 5.0  # seconds between lines of progress where the output is no terminal


def find_notebook(name: str, project: Path) -> Path:
    """Returns the notebook of a project that a number, name or path means.

    Raises:
        SpecError: there is none, or several fit.
    """
    given = Path(name)
    if given.suffix == ".ipynb" and given.is_file():
        return given.resolve()
    known = {path.stem: path for path in sorted((project / "notebooks").glob("*.ipynb"))}
    stem = given.name.removesuffix(".ipynb")
    fits = [stem] if stem in known else [one for one in known if stem and one.startswith(stem)]
    if len(fits) > 1:
        raise SpecError(f"{name!r} fits several notebooks: {', '.join(fits)}")
    if not fits:
        raise SpecError(suggest(name, known, "notebook"))
    return known[fits[0]].resolve()


def execute(path: Path, copy: Path, variables: Mapping[str, str]) -> None:
    """Runs every cell in the notebook's folder with this interpreter; shows what it prints.

    Args:
        path: the notebook; it stays as it is.
        copy: where the executed notebook goes, also when it failed.
        variables: of the environment, beside those of this process.

    Raises:
        ChildProcessError: a cell failed, or the kernel was stopped or died.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    stopped = f"{path.name} was stopped or died; what is finished is kept, run it again to go on"
    place = Path(tempfile.gettempdir())
    disk.sweep(place)
    with disk.temporary_folder(place) as sockets:
        client = Client(notebook, sockets, _EVERY)
        try:
            client.execute(cwd=str(path.parent), env={**os.environ, **variables})
        except CellExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                raise ChildProcessError(stopped) from None
            where = f"code cell {client.code_cells_executed} of {path.name}"
            why = f"{error.ename}: {error.evalue}"
            message = f"{where} failed: {why}\nThe whole error is in {copy}"
            raise ChildProcessError(message) from None
        except (KeyboardInterrupt, asyncio.CancelledError, DeadKernelError):
            raise ChildProcessError(stopped) from None
        except Exception:
            if not client.stopped:
                raise
            raise ChildProcessError(stopped) from None  # what was torn down complains
        finally:
            text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
            write_text(copy, text + "\n")


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
        self.stopped = False  # by a signal

    def create_kernel_manager(self) -> KernelManager:
        """Makes a kernel of this interpreter that listens on files, not on network ports."""
        # TCP would be open to every user of the machine, and ipykernel warns of it
        self.km = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_ThisPython(),
            transport="ipc",
            connection_file=str(self._sockets / "kernel.json"),
            shutdown_wait_time=PATIENCE,
        )
        return self.km

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        """Starts the kernel; from now on a signal stops the cell first, so that it says what is
        kept, and nothing is torn down beneath it."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RuntimeError):  # outside the main thread no signal comes
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._on_signal)
        await super().async_start_new_kernel(**kwargs)

    def _on_signal(self) -> None:
        self.stopped = True
        self.shutdown_kernel = "immediate"  # when the cell has ended
        self._stopping = asyncio.ensure_future(self._stop())  # a task needs a name to stay

    async def _stop(self) -> None:
        """Interrupts the kernel, and kills it where that does not end it."""
        await self._kernel("interrupt_kernel")
        await asyncio.sleep(PATIENCE / 2)
        await self._kernel("shutdown_kernel", now=True)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()  # nbclient would look only once a second

    async def _kernel(self, what: str, **kwargs: Any) -> None:
        """Asks something of the kernel's manager, if it still has one."""
        with contextlib.suppress(RuntimeError):  # it ended meanwhile
            if self.km is not None and self.km.has_kernel:
                await getattr(self.km, what)(**kwargs)

    async def _async_cleanup_kernel(self) -> None:
        """Ends the kernel, once: nbclient asks for it again when it was stopped."""
        if self.km is not None:
            await super()._async_cleanup_kernel()

    _cleanup_kernel = run_sync(_async_cleanup_kernel)  # what nbclient calls at exit

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
            line = plain[: shutil.get_terminal_size().columns - 1]  # a longer one would not return
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if finished else ""))
        elif finished or time.monotonic() - self._last > self._every:
            self._last = time.monotonic()
            sys.stderr.write(f"{plain}\n")
        sys.stderr.flush()
