"""The model client alone against the real server."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE

from tasks.local.processes import environment
from tasks.model.client import Text
from tasks.model.prompt import SHORTENED
from tests.real_model.server import RealServer
from tests.support.model_server import hear, listening, model

#: A reply of noise on a busy machine takes seconds.
QUICK = {"model_protocol": "completions", "model_read_timeout": 60, "model_retry_timeout": 60, "max_new_tokens": 40}


async def streams(server: RealServer) -> str:
    """A reply streams in pieces and ends with a reason."""
    async with model(server.url, model_name=server.name, **QUICK) as client:
        heard = await hear(client, "Hello, how are you?")
    pieces = [event for event in heard.events if isinstance(event, Text)]
    assert heard.end in ("stop", "length"), heard
    assert len(pieces) > 1, heard
    return f"{len(pieces)} pieces, finish reason {heard.end}"


async def continues(server: RealServer) -> str:
    """A reply that was begun elsewhere is continued."""
    async with model(server.url, model_name=server.name, **QUICK) as client:
        heard = await hear(client, "Hello, how are you?", partial="I am wel")
    assert heard.end in ("stop", "length"), heard
    return f"finish reason {heard.end}"


async def fits(server: RealServer) -> str:
    """Messages of any script and any length fit into the context."""
    async with model(server.url, model_name=server.name, **QUICK) as client:
        for message in ("ünlesbar 日本語 👩 " * 200, "x7#" * 1300):
            heard = await hear(client, message[:4000])
            assert heard.text.startswith(SHORTENED), heard
            assert (heard.waits, bool(heard.end)) == ([], True), heard
    return "none was refused or waited for"


async def lets_go(server: RealServer) -> str:
    """A reply whose reader leaves lets go at once, and the next one comes."""
    async with model(server.url, model_name=server.name, **QUICK) as client:
        async with listening(client) as ear:
            assert isinstance(await ear.next(), Text)
        heard = await hear(client, "Hello again")
    assert heard.end, heard
    return f"finish reason {heard.end}"


async def is_tried(server: RealServer) -> str:
    """`make try-model` prints the reply, the time to its first token, the rate and the finish reason."""
    settings = {"MODEL_URL": server.url, "MODEL_PROTOCOL": "completions", "MODEL_NAME": server.name}
    command = (sys.executable, "-m", "tasks.local.try_model", "Hello?")
    process = await asyncio.create_subprocess_exec(*command, env=environment(settings), stdout=PIPE)
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
    figures = r"first token after [\d.]+ s, [\d.]+ tokens per second, finish reason: (length|stop)"
    found = re.search(rf"Human: Hello\?\nBot: .+\n\n({figures})\n$", out, re.DOTALL)
    assert found, out
    return found[1]


CHECKS = (streams, continues, fits, lets_go, is_tried)
