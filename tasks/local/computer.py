"""What this computer has: memory, room on the disk, and whether the model engine has a build for it."""

import platform
import shutil
import sys
from pathlib import Path

import psutil

#: What openvino-genai's wheels need: the machine, and on Linux the oldest glibc.
_GLIBC = {"x86_64": (2, 28), "aarch64": (2, 35)}


def free_memory() -> int:
    """Bytes of memory that programs can take now."""
    return int(psutil.virtual_memory().available)


def free_disk(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def engine_runs_here() -> bool:
    """Whether openvino-genai has a build for this system."""
    machine = platform.machine()
    if sys.platform == "darwin":
        return machine == "arm64"
    name, version = platform.libc_ver()
    if sys.platform != "linux" or machine not in _GLIBC or name != "glibc":
        return False
    return tuple(int(part) for part in version.split(".")[:2]) >= _GLIBC[machine]
