"""The worker's own side: it builds its target, then answers calls until the driver is gone."""

from __future__ import annotations

import os
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from kit.machine.processes import end_with_parent
from kit.machine.progress import set_progress
from kit.spec import registry


def serve(descriptor: int) -> None:
    """Runs in the worker process, see `kit.machine.workers.Worker`.

    Args:
        descriptor: of this end of the pair of sockets.
    """
    os.set_inheritable(descriptor, False)
    driver = Connection(descriptor)
    end_with_parent()

    def send(kind: str, content: Any) -> None:
        try:
            data = cloudpickle.dumps((kind, content))
        except Exception as error:  # an answer that cannot be sent is the method's mistake
            data = cloudpickle.dumps(("error", _described(error)))
        driver.send_bytes(data)

    def receive() -> Any:
        try:
            return cloudpickle.loads(driver.recv_bytes())
        except (EOFError, ConnectionError):
            os._exit(0)  # the driver is gone

    set_progress(lambda text: send("progress", text))
    target: Any = None

    def answer() -> Any:
        nonlocal target
        if target is not None:
            method, args = receive()
            return getattr(target, method)(*args)
        entries, factory, args = receive()
        for kind, entry in entries:
            registry.REGISTRIES[kind].add(entry)
            if entry.owner[0] == "__main__":  # torch.compile looks a notebook's globals up there
                scope = getattr(entry.function, "__globals__", {})
                main = vars(sys.modules["__main__"])
                main |= {name: v for name, v in scope.items() if not name.startswith("__")}
        target = factory(*args)
        return None

    while True:
        try:
            result = answer()
        except Exception as error:
            send("error", _described(error))
        else:
            send("result", result)


def _described(error: BaseException) -> tuple[str, str, str]:
    trace = "".join(traceback.format_exception(error))
    return type(error).__name__, str(error) or "no message", trace
