"""What tests ask of processes."""

import time
from collections.abc import Callable

import psutil


def eventually(happens: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it happens within the time."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
