"""The application needs nothing of its server but ASGI (https://asgi.readthedocs.io), so another one can run it."""

import socket
import sys
from collections.abc import Iterator

import httpx
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.frames import SUBPROTOCOL
from tasks.local.processes import Child, wait_until
from tasks.settings import Settings
from tests.support.client import Chat, new_token
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.stack import Stack, answers


@pytest.fixture
def hypercorn(stack: Stack) -> Iterator[str]:
    """The address of the application under hypercorn, which shares no WebSocket code with uvicorn."""
    port = own_port()
    command = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "api.app:app"]
    with Child("hypercorn", command, stack.env) as child:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "hypercorn", [child])
        yield f"http://127.0.0.1:{port}"
        assert not [line for line in child.lines if "Traceback" in line]


async def test_another_asgi_server_runs_the_chat(hypercorn: str, stack: Stack) -> None:
    token = await new_token(hypercorn)
    async with Chat(hypercorn, token) as here, Chat(stack.url, token) as there:
        await here.send("Who serves this?")
        replies = [(await chat.until("reply.finished"))["message"] for chat in (here, there)]
    assert replies[0] == replies[1]


async def test_under_another_server_too_a_deleted_conversation_closes_its_sockets(hypercorn: str) -> None:
    token = await new_token(hypercorn)
    async with Chat(hypercorn, token) as chat:
        await chat.until("snapshot")
        async with httpx.AsyncClient(base_url=hypercorn) as http:
            assert (await http.delete("/token", params={"token": token})).status_code == 204
        assert await chat.closed_with() == 4401


def test_the_test_client_runs_calls_and_sockets(stack: Stack) -> None:
    with TestClient(create_app(Settings(redis_url=stack.redis.url, model_url=stack.model_url))) as client:
        token = client.post("/token?name=Ada").json()["token"]
        with client.websocket_connect(f"/chat?token={token}", subprotocols=[SUBPROTOCOL]) as socket:
            assert socket.receive_json()["type"] == "snapshot"
            socket.send_json({"type": "message.send", "id": "00000000-0000-4000-8000-000000000001", "text": "Hello"})
            types = []
            while "reply.finished" not in types:
                types.append(socket.receive_json()["type"])
    assert types[0] == "message.accepted"


def test_on_two_colons_web_is_reached_by_ipv4_and_by_ipv6(stack: Stack) -> None:
    if not socket.has_dualstack_ipv6():
        missing("This machine has no IPv6.")
    with stack.another_web(HOST="::") as url:
        assert answers(f"{url}/healthz")
        assert answers(f"{url.replace('127.0.0.1', '[::1]')}/healthz")


def test_a_port_that_is_taken_is_named_in_one_sentence(stack: Stack) -> None:
    port = str(stack.ports[0])
    with stack.processes.start("web", {"PORT": port}) as child:
        assert child.wait(60)
        child.kill()
        stack.processes.children.remove(child)
        assert f"PORT {port}: another program uses it." in child.lines[-1]
        assert not [line for line in child.lines if "Traceback" in line]
