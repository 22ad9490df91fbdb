"""A line to Redis: every answer goes to the command that it answers, and after a failure the next command is well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import hiredis
import pytest

from tasks.errors import StorageError, StorageUnavailable
from tasks.storage.client import RedisClient
from tasks.storage.redis_line import Line

Answer = Callable[[list[bytes]], list[bytes]]
HANG_UP = b""


def echo(command: list[bytes]) -> list[bytes]:
    """What ECHO answers."""
    return [b"$%d\r\n%b\r\n" % (len(command[1]), command[1])]


class Server:
    """Answers a command with the pieces that `answer` gives, each sent by itself; hangs up at an empty one."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.connections = 0
        self.asked = asyncio.Event()
        self._ended = asyncio.Semaphore(0)

    @asynccontextmanager
    async def line(self, timeout: float = 30) -> AsyncIterator[Line]:
        """A line to it."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listening:
            url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
            async with aclosing(Line(url, timeout=timeout)) as line:
                yield line
            for _ in range(self.connections):
                await self._ended.acquire()

    async def _serve(self, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, publisher)
        finally:
            publisher.close()
            self._ended.release()

    async def _talk(self, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(65_536):
            commands.feed(data)
            while command := commands.gets():
                # What redis-py says of itself comes first.
                pieces = [b"+OK\r\n"] if command[0] == b"CLIENT" else self.answer(command)
                self.asked.set()
                for piece in pieces:
                    if piece == HANG_UP:
                        return
                    publisher.write(piece)
                    await publisher.drain()
                    await asyncio.sleep(0)


async def test_an_answer_that_comes_byte_by_byte_is_put_together() -> None:
    async with Server(lambda command: [bytes([byte]) for byte in echo(command)[0]]).line() as line:
        assert await line.together(("ECHO", "one"), ("ECHO", "two\r\n")) == [b"one", b"two\r\n"]


async def test_several_answers_at_once_go_to_their_commands_in_order(redis: RedisClient) -> None:
    line = redis.line()
    async with aclosing(line):
        for round in range(20):
            said = [f"{round} {number}" for number in range(50)]
            assert await line.together(*(("ECHO", word) for word in said)) == [word.encode() for word in said]


async def test_a_late_answer_is_not_taken_for_the_next_commands() -> None:
    server = Server(lambda command: [])
    async with server.line(timeout=0.05) as line:
        with pytest.raises(StorageUnavailable):
            await line.command("ECHO", "late")
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"
        assert server.connections == 2


async def test_the_answer_of_who_was_cancelled_is_not_taken_for_the_next_commands() -> None:
    server = Server(lambda command: [])
    async with server.line() as line:
        await line.send("ECHO", "first")
        server.asked.clear()
        asking = asyncio.create_task(line.command("ECHO", "cancelled"))
        await server.asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"
        assert server.connections == 2


async def test_a_server_that_hangs_up_instead_of_answering_is_away_and_then_back() -> None:
    server = Server(lambda command: [HANG_UP])
    async with server.line() as line:
        with pytest.raises(StorageUnavailable):
            await line.command("ECHO", "lost")
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"


async def test_of_a_server_that_hangs_up_after_a_refusal_the_refusal_is_told() -> None:
    server = Server(lambda command: [b"-ERR not this\r\n", HANG_UP])
    async with server.line() as line:
        with pytest.raises(StorageError, match="not this"):
            await line.together(("ECHO", "refused"), ("ECHO", "unheard"))
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"


async def test_a_refusal_among_several_costs_no_connection() -> None:
    server = Server(lambda command: [b"-ERR not this\r\n"] if command[1] == b"bad" else echo(command))
    async with server.line() as line:
        with pytest.raises(StorageError, match="not this"):
            await line.together(("ECHO", "good"), ("ECHO", "bad"), ("ECHO", "good"))
        assert await line.command("ECHO", "next") == b"next"
        assert server.connections == 1


async def test_a_server_that_is_still_loading_is_away() -> None:
    server = Server(lambda command: [b"-LOADING Redis is loading the dataset in memory\r\n"])
    async with server.line() as line:
        with pytest.raises(StorageUnavailable):
            await line.command("ECHO", "early")
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"


async def test_what_is_not_the_protocol_is_an_error_and_ends_the_connection() -> None:
    server = Server(lambda command: [b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    async with server.line() as line:
        with pytest.raises(StorageError, match="Protocol error"):
            await line.command("ECHO", "what?")
        server.answer = echo
        assert await line.command("ECHO", "next") == b"next"
        assert server.connections == 2


async def test_a_connection_that_was_closed_while_nobody_asked_is_replaced_unnoticed() -> None:
    server = Server(echo)
    async with server.line() as line:
        assert await line.command("ECHO", "before") == b"before"
        server.answer = lambda command: [*echo(command), HANG_UP]
        assert await line.command("ECHO", "last") == b"last"
        server.answer = echo
        async with asyncio.timeout(30):
            while not (line._socket and line._socket.lost):
                await asyncio.sleep(0)
        assert await line.command("ECHO", "after") == b"after"


async def test_who_waits_for_news_is_told_when_the_line_is_closed() -> None:
    server = Server(lambda command: [])
    async with server.line() as line:
        await line.send("SUBSCRIBE", "bell")
        waiting = asyncio.create_task(line.receive())
        await server.asked.wait()
        await line.aclose()
        with pytest.raises(StorageUnavailable):
            await waiting
        with pytest.raises(StorageUnavailable):
            await line.receive()
