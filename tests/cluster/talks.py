"""People in conversations whose nodes are known, and what all of them must have seen at the end."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any

from tasks.storage.client import RedisClient
from tasks.storage.keys import TAGS, ConversationKeys, conversation_id, slot_of_tag
from tasks.storage.topology import SyncClient
from tests.support.client import Chat, new_token, replay
from tests.support.inside import stamps, whole
from tests.support.ports import own_port
from tests.support.stack import Stack


def slot_of(token: str) -> int:
    """The hash slot of a conversation."""
    return slot_of_tag(TAGS[ConversationKeys(conversation_id(token)).shard])


class Talks:
    """Conversations in equal parts on each third of the slots, with a socket each."""

    def __init__(self, stack: Stack, each: int = 2) -> None:
        self._stack = stack
        self._each = each
        self._open = AsyncExitStack()
        self.chats: dict[str, Chat] = {}

    async def __aenter__(self) -> "Talks":
        found: dict[int, int] = {}
        while len(self.chats) < 3 * self._each:
            token = await new_token(self._stack.url)
            third = slot_of(token) * 3 // (1 << 14)
            if found.setdefault(third, 0) < self._each:
                found[third] += 1
                chat = Chat(self._stack.url, token)
                self.chats[token] = await self._open.enter_async_context(chat)
                await chat.until("snapshot")
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._open.aclose()

    def on(self, third: int) -> list[Chat]:
        """Those whose conversation lies in a third of the slots."""
        return [chat for token, chat in self.chats.items() if slot_of(token) * 3 // (1 << 14) == third]

    async def begin(self) -> None:
        """Everybody says something, and the first words of every reply come."""
        await asyncio.gather(*(chat.send("Count, please") for chat in self.chats.values()))
        await asyncio.gather(*(chat.until("reply.delta") for chat in self.chats.values()))

    async def finish(self) -> None:
        """Every reply comes to its end, with each word once, and the document says what was seen."""
        await asyncio.gather(*(self._finish(token, chat) for token, chat in self.chats.items()))

    async def _finish(self, token: str, chat: Chat) -> None:
        ended = await chat.until("reply.finished", "reply.failed")
        assert ended["type"] == "reply.finished", ended
        numbers = stamps(ended["message"]["text"])
        assert numbers == whole(len(numbers))
        async with Chat(self._stack.url, token) as again:
            document = (await again.until("snapshot"))["conversation"]["messages"]
        assert replay(chat.frames)["messages"] == document
        assert document[-1] == ended["message"]


@contextmanager
def silent_servers(count: int) -> Iterator[str]:
    """The addresses of servers that take connections and say nothing, as a stopped process does."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", own_port()))) for _ in range(count)]
        yield ",".join(f"127.0.0.1:{server.getsockname()[1]}" for server in silent)


async def both_clients_answer(url: str) -> None:
    """The client of the event loop, and that of the threads, find a server; one that waited for each would not."""
    redis, threads = RedisClient(url, max_connections=1), SyncClient(url, max_connections=1, timeout=15)
    async with asyncio.timeout(30):
        assert await redis.command("EXISTS", "parley:nothing") == 0
        assert await asyncio.to_thread(threads.ping)
    await redis.aclose()
    threads.close()
