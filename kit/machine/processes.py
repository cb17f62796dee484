"""Which processes live, and how one ends with the process that started it."""

from __future__ import annotations

import os
import threading
import time

_POLL = 0.5


def lives(pid: int) -> bool:
    """Says whether a process of this machine runs; one that ended and was not waited for does not.

    A container's first process may never wait for the orphans it is given.
    """
    if pid == os.getpid():
        return True
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def end_with_parent() -> None:
    """Ends this process within half a second of its parent, even in the middle of a computation."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
