"""What a run leaves behind (output, keys, figures, errors) holds no session token, no HF_TOKEN, no person's words.

One stack goes through everything that is ever said about a message; then all that it wrote is searched.
"""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tasks.errors import StorageError
from tasks.settings import Settings
from tests.support.client import Chat, LegacyChat, new_token
from tests.support.missing import missing
from tests.support.servers import connect, start_server
from tests.support.stack import Stack

HF_TOKEN = "hf_NobodyMaySeeThis"  # noqa: S105
WORDS = "marzipan-elephant"
NAME = "Xanthippe"


@dataclass
class Run:
    """What was done and what it left behind."""

    token: str
    ids: dict[str, str]
    output: list[str]
    keys: list[str]
    values: list[bytes]
    answers: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A full run: answered, stopped, failed, refused, retried, over both contracts, with a Redis that stumbles."""
    try:
        started = start_server(tmp_path_factory.mktemp("secrets"))
    except StorageError as error:
        missing(str(error))
    with Stack(started, stand_in=("--token", HF_TOKEN), HF_TOKEN=HF_TOKEN) as stack:
        stack.start_web()
        stack.start_worker()
        stack.wait_ready(60)
        token, ids, answers = asyncio.run(go_through_everything(stack))
        with connect(stack.redis.url) as client:
            keys = [key.decode() for key in client.scan_iter()]
            values = [client.dump(key) or b"" for key in keys if ":document" not in key]
        return Run(token, ids, lines_of(stack), keys, values, answers)


async def go_through_everything(stack: Stack) -> tuple[str, dict[str, str], list[str]]:
    """Talk, ask; returns the token, the messages' ids by outcome, and the answers."""
    token = await new_token(stack.url, NAME)
    return token, await talk(stack, token), await ask_wrongly(stack, token)


async def talk(stack: Stack, token: str) -> dict[str, str]:
    """Say things that end in every way there is; returns the messages' ids by how each ended."""
    ids = {}
    async with Chat(stack.url, token) as chat:
        ids["accepted"] = ids["finished"] = await chat.send(f"{WORDS} one")
        await chat.until("reply.finished")
        # A server that quotes the request, token and all.
        quote = {"error": f"rejected {WORDS} Bearer {HF_TOKEN}", "error_type": "validation"}
        stack.fault(mode="status", status=422, body=quote)
        ids["failed"] = await chat.send(f"{WORDS} two")
        await chat.until("reply.failed")
        await chat.retry(ids["failed"])
        await chat.until("reply.finished")
        stack.pace(rate=20, stamped=100)
        ids["stopped"] = await chat.send(f"{WORDS} three")
        await chat.until("reply.delta")
        await chat.stop(ids["stopped"])
        await chat.until("reply.finished")
        stack.pace(rate=400, stamped=0)
        await chat.send_frame({"type": WORDS})
        await chat.send_frame({"type": "message.send", "id": WORDS, "text": WORDS})
        await chat.send_frame({"type": "message.send", "id": str(uuid.uuid4()), "text": WORDS * 1000})
        await chat.socket.send(f"{{{WORDS}".encode())
        for _ in range(4):
            await chat.until("error")
        stack.redis.restart()
        await chat.send(f"{WORDS} four")
        await chat.until("reply.finished", "error")
    async with LegacyChat(stack.url, token) as seed:
        await seed.ask(f"{WORDS} five")
        await seed.ask("")
    return ids


async def ask_wrongly(stack: Stack, token: str) -> list[str]:
    """Everything that answers or refuses over HTTP, as text; none of it owes anybody the token."""
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answers = [
            await http.get("/readyz"),
            await http.get("/metrics"),
            await http.get("/openapi.json"),
            await http.get(f"/chat/{token}"),
            await http.get("/refresh_token", params={"token": f"{token}x"}),
            await http.delete("/token", params={"token": f"{token}x"}),
            await http.post("/token", params={"name": WORDS * 100}),
            await http.post(f"/{token}"),
            await http.patch("/token", params={"token": token}),
        ]
    return [f"{answer.headers} {answer.text}" for answer in answers]


def lines_of(stack: Stack) -> list[str]:
    """What the Procfile's processes printed."""
    return [line for child in stack.processes.children for line in child.lines]


@pytest.mark.parametrize("outcome", ["message.accepted", "reply.finished", "reply.failed", "reply.stopped"])
def test_each_outcome_of_a_message_is_one_line_with_its_id(run: Run, outcome: str) -> None:
    id = run.ids[outcome.split(".")[1]]
    lines = [line for line in run.output if f" {outcome} " in line and f"message={id}" in line]
    assert len(lines) == 1
    assert "conversation=" in lines[0]


def test_one_id_follows_a_message_from_the_socket_to_the_reply(run: Run) -> None:
    lines = [line for line in run.output if f"message={run.ids['finished']}" in line]
    assert [line.split(": ")[1].split()[0] for line in lines] == ["message.accepted", "reply.finished"]


@pytest.mark.parametrize(("where", "witness"), [("output", "accepted"), ("keys", ":document"), ("answers", "parley_")])
def test_nothing_that_was_written_holds_a_secret_or_a_persons_words(run: Run, where: str, witness: str) -> None:
    written = "\n".join(getattr(run, where))
    assert witness in written
    for secret in (run.token, HF_TOKEN, WORDS, NAME):
        assert secret not in written


def test_only_the_document_in_redis_holds_the_token(run: Run) -> None:
    assert run.values
    assert not [key for key, value in zip(run.keys, run.values, strict=False) if run.token.encode() in value]
    assert not any(HF_TOKEN.encode() in value for value in run.values)


def test_nothing_was_reported_as_an_error_of_our_own(run: Run) -> None:
    assert not [line for line in run.output if "Traceback" in line or "ERROR" in line]


def test_settings_do_not_show_their_secrets() -> None:
    settings = Settings(redis_url="rediss://user:hunter2@db:6380/0", hf_token=SecretStr(HF_TOKEN))
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in shown
        assert HF_TOKEN not in shown


def test_no_file_of_the_page_holds_a_secret(run: Run) -> None:
    page = Path(__file__).parents[2] / "frontend" / "dist"
    for file in page.rglob("*"):
        assert not file.is_file() or HF_TOKEN.encode() not in file.read_bytes()
