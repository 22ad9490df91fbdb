"""Connections that are no requests, floods and bytes that are no protocol: they end, cost little, others are served."""

import asyncio
from collections.abc import Iterator

import psutil
import pytest

from tasks.errors import StorageError
from tests.fuzz.attack import attack
from tests.fuzz.attacks import APPLICATION, PROXY, Target, sockets
from tests.support.caddy import caddy
from tests.support.client import PATIENCE, Chat, new_token
from tests.support.missing import missing
from tests.support.servers import start_server
from tests.support.stack import Stack

#: Seconds that each attack lasts here.
SHORT = 1.0
#: Bytes that a process may grow by while it is attacked.
BOUND = 100_000_000


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system behind a platform's proxy, with the limits that strangers meet."""
    try:
        redis = start_server(tmp_path_factory.mktemp("attacked"))
    except StorageError as error:
        missing(str(error))
    limits = {
        "TRUSTED_PROXIES": "1",
        "LIMIT_SOCKETS_PER_ADDRESS": "100",
        "LIMIT_MESSAGES_PER_MINUTE": "30",
        "LIMIT_MESSAGES_PER_ADDRESS": "120",
    }
    with Stack(redis) as stack:
        stack.start_web(**limits)
        stack.start_worker()
        stack.wait_ready(60)
        yield stack


def memory(stack: Stack) -> int:
    """Bytes that web and worker have."""
    processes = [psutil.Process(child.pid) for child in stack.processes.children]
    every = [*processes, *(child for process in processes for child in process.children(recursive=True))]
    return sum(process.memory_info().rss for process in every)


async def be_served(stack: Stack, address: str) -> None:
    """Somebody else says something and is answered."""
    async with Chat(stack.url, await new_token(stack.url), additional_headers={"X-Forwarded-For": address}) as chat:
        await chat.send("Is all well?")
        await chat.until("reply.finished")


@pytest.fixture(scope="module")
def front(attacked: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Caddy in front of that system."""
    with caddy(attacked.ports[0], tmp_path_factory.mktemp("caddy"), tls=False) as url:
        yield url


@pytest.mark.parametrize("name", APPLICATION)
async def test_during_and_after_an_attack_others_are_served_and_nothing_breaks(attacked: Stack, name: str) -> None:
    await attack_and_look(attacked, attacked.url, name)


@pytest.mark.parametrize("name", PROXY)
async def test_what_the_proxy_answers_for_disturbs_nobody_behind_it(attacked: Stack, front: str, name: str) -> None:
    await attack_and_look(attacked, front, name)


async def attack_and_look(attacked: Stack, url: str, name: str) -> None:
    """Attack for a while, at `url`; others talk meanwhile and afterwards, and nothing may break."""
    before = memory(attacked)
    attacking = asyncio.create_task(attack(name, url, SHORT, seed=1))
    others = 0
    while not attacking.done():
        others += 1
        await be_served(attacked, f"198.51.100.{len(name)}.{others}")
    done = await attacking
    await be_served(attacked, "192.0.2.1")
    assert done
    assert done["server errors"] == 0
    assert memory(attacked) - before < BOUND
    assert all(child.alive for child in attacked.processes.children)
    assert not [line for child in attacked.processes.children for line in child.lines if "Traceback" in line]


async def test_sockets_past_the_limit_of_an_address_are_closed_with_4429(attacked: Stack) -> None:
    # However long a busy machine takes for so many.
    target = Target(attacked.url, PATIENCE, seed=1)
    await sockets(target, most=150)
    done = target.done
    assert done["open"] == 100
    assert done["closed 4429"] > 0
    assert done["open"] + done["closed 4429"] == done["sockets"]


async def test_headers_without_an_end_are_cut_off(attacked: Stack) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", attacked.ports[0])
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(30):
            await endlessly(writer, b"X-More: " + b"y" * 1000 + b"\r\n")
    writer.close()


async def endlessly(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Write the same line until nobody takes it any more."""
    while True:
        writer.write(line)
        await writer.drain()
