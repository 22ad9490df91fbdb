"""What these tests share: Parley's processes on a cluster, and on a pair of servers under Sentinel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import StorageError
from tests.support.cluster import Cluster, Watched
from tests.support.missing import missing
from tests.support.stack import Stack


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three primaries and three replicas of a test's own."""
    try:
        return Cluster(tmp_path)
    except StorageError as error:
        missing(str(error))
        raise


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A primary and a replica under three sentinels of a test's own."""
    try:
        return Watched(tmp_path)
    except StorageError as error:
        missing(str(error))
        raise


@pytest.fixture
def on_cluster(cluster: Cluster) -> Iterator[Stack]:
    """Parley on the cluster: two web processes, two workers."""
    yield from _running(cluster)


@pytest.fixture
def on_watched(watched: Watched) -> Iterator[Stack]:
    """Parley under Sentinel: two web processes, two workers."""
    yield from _running(watched)


def _running(server: Any) -> Iterator[Stack]:
    with Stack(server) as stack:
        for _ in range(2):
            stack.start_web()
            stack.start_worker()
        stack.wait_ready()
        yield stack
        # Seen if the test fails.
        for child in stack.processes.children:
            print(child.name, *list(child.lines)[-30:], sep="\n")
