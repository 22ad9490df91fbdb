"""Any number of web and worker processes, anywhere, without sticky sessions; they come and go and no word is lost."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tasks.errors import StorageError
from tasks.local.embedded_redis import start_redis
from tasks.local.processes import Child, stop_all, wait_until
from tests.support.client import Chat, new_token, replay
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.stack import Stack

#: Stamped tokens of each reply under load, and how fast they come (a second).
TOKENS, RATE = 40, 20


def numbers(text: str) -> list[int]:
    """The numbers of a reply's stamped tokens."""
    return [int(number) for number in re.findall(r"(\d+)\|[\d.]+", text)]


class Person:
    """Talks until told to go, each message through another web process than the one before."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.replies = 0
        self.gone = False
        self.answered = asyncio.Condition()

    async def talk(self) -> None:
        """Every reply has every word once, live as in the document."""
        token = await new_token(self._stack.url)
        while not self.gone:
            web = self._stack.ports[self.replies % len(self._stack.ports)]
            async with Chat(f"http://127.0.0.1:{web}", token) as chat:
                await chat.send("Go on")
                reply = (await chat.until("reply.finished"))["message"]
                assert numbers(reply["text"]) == list(range(1, TOKENS + 1))
                assert replay(chat.frames)["messages"][-1] == reply
            async with self.answered:
                self.replies += 1
                self.answered.notify_all()


@contextmanager
def talking(stack: Stack, people: int) -> Iterator[list[Person]]:
    """So many people for as long as the block lasts; `settle` takes what went wrong."""
    persons = [Person(stack) for _ in range(people)]
    yield persons
    for person in persons:
        person.gone = True


async def some_replies(persons: list[Person], more: int = 1) -> None:
    """Wait until everybody has had some more replies."""
    wanted = [(person, person.replies + more) for person in persons]
    for person, replies in wanted:
        async with person.answered:
            await person.answered.wait_for(lambda person=person, replies=replies: person.replies >= replies)  # type: ignore[misc]


async def test_workers_and_webs_come_and_go_under_load_and_nobody_loses_a_word(own_stack: Stack) -> None:
    stack = own_stack
    stack.start_web()
    workers = [stack.start_worker()]
    stack.wait_ready(60)
    stack.pace(rate=RATE, stamped=TOKENS)
    async with asyncio.TaskGroup() as group:
        with talking(stack, 8) as persons:
            for person in persons:
                group.create_task(person.talk())
            await some_replies(persons)  # 1 web, 1 worker
            await asyncio.to_thread(stack.start_web)
            workers.append(stack.start_worker())
            await asyncio.to_thread(stack.wait_workers, 2, 60)
            await some_replies(persons)  # 2 webs, 2 workers
            workers += [stack.start_worker(), stack.start_worker()]
            await asyncio.to_thread(stack.wait_workers, 4, 60)
            await some_replies(persons)  # 2 webs, 4 workers
            await asyncio.to_thread(stop_all, workers[:3])
            await some_replies(persons)  # 2 webs, 1 worker, which was the last to come
    assert stack.model_stats()["requests"] >= sum(person.replies for person in persons)


async def test_several_web_processes_behind_one_port_serve_one_conversation(own_stack: Stack) -> None:
    web = own_stack.start_web(WEB_CONCURRENCY="2")
    own_stack.start_worker()
    own_stack.wait_ready(60)
    own_stack.pace(rate=50, stamped=30)
    token = await new_token(own_stack.url)
    chats = [Chat(own_stack.url, token) for _ in range(8)]
    for chat in chats:
        await chat.__aenter__()
    id = await chats[0].send("To everybody")
    texts = {(await chat.until("reply.finished"))["message"]["text"] for chat in chats}
    assert len(texts) == 1
    assert numbers(texts.pop()) == list(range(1, 31))
    await chats[1].retry(id)
    for chat in chats:
        await chat.until("reply.started")
        await chat.until("reply.finished")
        await chat.__aexit__(None, None, None)
    assert web.alive
    wait_until(lambda: "parley_open_websockets 0.0" in httpx.get(f"{own_stack.url}/metrics").text, "the count")


OTHER_HOST = "parley-test"
HERE, THERE = "10.213.7.1", "10.213.7.2"


@contextmanager
def another_host() -> Iterator[str]:
    """The name of a network namespace with an address of its own, joined to this machine by a wire."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing("Another host takes root and iproute2's `ip`.")
    link = f"{OTHER_HOST[:8]}{os.getpid() % 100000}"
    space = f"{OTHER_HOST}-{os.getpid()}"
    ip(f"netns add {space}")
    try:
        ip(f"link add {link} type veth peer name eth1 netns {space}")
        ip(f"addr add {HERE}/30 dev {link}")
        ip(f"link set {link} up")
        ip(f"-n {space} addr add {THERE}/30 dev eth1")
        ip(f"-n {space} link set eth1 up")
        yield space
    finally:
        ip(f"netns delete {space}")


def ip(command: str) -> None:
    """Run `ip`; a machine that does not allow it has no other hosts to offer."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
    if done.returncode:
        missing(f"ip {command}: {done.stderr.strip()}")


def worker_there(space: str, env: dict[str, str]) -> Child:
    """The Procfile's worker on the other host."""
    return Child("far worker", ["ip", "netns", "exec", space, "python", "-m", "tasks.local.processes", "worker"], env)


def test_a_worker_on_another_host_takes_part(tmp_path: Path) -> None:
    with another_host() as space:
        asyncio.run(talk_with_a_far_worker(tmp_path, space))


async def talk_with_a_far_worker(folder: Path, space: str) -> None:
    """It answers alone, then beside a near one; then the near one goes on with what the far one leaves."""
    try:
        options = {"bind": f"127.0.0.1 {HERE}", "protected-mode": "no"}
        redis = start_redis(folder, port=own_port(), kind="redis", options=options)
    except StorageError as error:
        missing(str(error))
        return
    with Stack(redis, model_host=HERE) as stack:
        far = {**stack.env, "REDIS_URL": redis.url.replace("127.0.0.1", HERE)}
        stack.start_web()
        with worker_there(space, far) as worker:
            stack.wait_ready(60)
            stack.pace(rate=RATE, stamped=TOKENS)
            async with Chat(stack.url, await new_token(stack.url)) as chat:
                await chat.send("Is anybody out there?")
                await chat.until("reply.finished")
                # It must not be over before the near one is there.
                stack.pace(rate=2)
                await chat.send("Stay a while")
                await chat.until("reply.delta")
                stack.start_worker()
                stack.wait_workers(2, 60)
                stack.pace(rate=RATE)
                worker.stop()
                reply = (await chat.until("reply.finished"))["message"]
        assert numbers(reply["text"]) == list(range(1, TOKENS + 1))
