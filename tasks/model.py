"""The model's side of a reply: asks the server, streams what it says, waits and asks again where that can help."""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass

import aiohttp
import certifi

from tasks.answer import Answer
from tasks.circuit import Attempt, Circuit
from tasks.decoder import FinishReason
from tasks.endpoint import Endpoint
from tasks.errors import SettingsError
from tasks.patience import Patience
from tasks.prompt import SHORTENED, Prompt, Turn, build_prompt, least_budget
from tasks.reply_text import ReplyText
from tasks.settings import Settings
from tasks.silence import Silence
from tasks.tokens import count_bytes, count_tokens
from tasks.trouble import Reason, Trouble, from_exception, from_status, misfit

log = logging.getLogger("parley.model")

#: Seconds to reach the server.
CONNECT_TIMEOUT = 10.0

#: Seconds that an unused connection is kept; less than the 5 after which uvicorn, and so vLLM, closes it.
KEEP_ALIVE = 4.0

#: Bytes read of an answer that is an error.
ERROR_LIMIT = 1 << 16

#: Seconds that a finished answer has for its last bytes, so that its connection can be used again.
DRAIN = 0.25

#: What the transport raises; RuntimeError is aiohttp's word for a connection that broke a moment ago.
TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, RuntimeError)

EMPTY = Trouble("model_empty", "The model answered without a single word.", "retrying")

Rest = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(slots=True)
class Text:
    """More of the reply; never withdrawn."""

    text: str


@dataclass(slots=True)
class Waiting:
    """The model cannot answer now; it is asked again in about `retry_in` seconds."""

    reason: Reason
    retry_in: float


@dataclass(slots=True)
class Finished:
    """The reply is complete; this call brought `tokens` of it."""

    finish_reason: FinishReason
    tokens: int = 0


@dataclass(slots=True)
class _Reply:
    """One reply under way: what it answers, what was shown of it, and why it has to wait."""

    person: str
    turns: Sequence[Turn]
    shown: str
    tokens_left: int
    patience: Patience
    tokens: int = 0
    trouble: Trouble | None = None
    pause: float = 0.0
    attempt: Attempt | None = None
    finished: bool = False

    def complete(self) -> bool:
        """Whether the reply that just ended has any words; if not, it is asked for again.

        Raises ModelError if that was done before.
        """
        self.finished = bool(self.shown)
        if not self.finished:
            self.patience.came_empty(EMPTY)
        return self.finished

    def failed(self, trouble: Trouble, *, broke_off: bool) -> None:
        """Plans the next try.

        Raises ModelError if there is to be none.
        """
        if self.attempt and trouble.reason:
            self.attempt.failed(trouble)
        self.trouble = trouble
        self.pause = self.patience.broke_off(trouble) if broke_off else self.patience.failed(trouble)

    def succeeded(self) -> None:
        """Says so to the circuit, once."""
        if self.attempt:
            self.attempt.succeeded()
        self.attempt = None

    def leave_to_others(self) -> None:
        """Gives back the circuit's leave, if the request told nothing of the server's health."""
        if self.attempt:
            self.attempt.release()
        self.attempt = None

    def show(self, text: str, prompt: Prompt) -> Text:
        """`text` as the person sees it: the first of it after the notice that their message was shortened."""
        notice = SHORTENED if prompt.shortened and not self.shown else ""
        self.shown += text
        return Text(notice + text)


class Model:
    """The model server of `settings`, for one process and one event loop.

    Raises SettingsError if the settings do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = Endpoint(settings)
        self._circuit = Circuit()
        self._count: Callable[[str], int] = count_tokens if _is_gpt_j(settings.model_name) else count_bytes
        if least_budget(settings.preamble, self._count) > settings.model_context - settings.max_new_tokens:
            raise SettingsError("PREAMBLE and MAX_NEW_TOKENS leave no room for a message in MODEL_CONTEXT")
        self.url = self._endpoint.url
        self._session = _session(self._endpoint)
        log.info("model: POST %s (%s)", self.url, settings.model_protocol)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def reply(
        self, person: str, turns: Sequence[Turn], partial: str, rest: Rest
    ) -> AsyncGenerator[Text | Waiting | Finished]:
        """The reply to the last of `turns`, or what is missing of it after `partial`.

        `rest()` is entered while the reply waits. Closing the iterator closes the request at once.
        Raises ModelError.
        """
        shown = partial.removeprefix(SHORTENED)
        # By words or by characters, for scripts without spaces: a reply taken over may get somewhat shorter or longer.
        tokens_left = self._settings.max_new_tokens - max(len(shown.split()), len(shown) // 8)
        reply = _Reply(person, turns, shown, tokens_left, Patience(self._settings.model_patience))
        try:
            while not reply.finished:
                async with aclosing(self._leave(reply, rest)) as waitings:
                    async for waiting in waitings:
                        yield waiting
                async with aclosing(self._ask(reply)) as events:
                    async for event in events:
                        yield event
                reply.leave_to_others()
        finally:
            reply.leave_to_others()

    async def _leave(self, reply: _Reply, rest: Rest) -> AsyncGenerator[Waiting]:
        """Waits until the server may be asked; `reply.attempt` then holds the circuit's leave."""
        if not reply.pause and (attempt := self._circuit.enter()):
            reply.attempt = attempt
            return
        async with rest():
            if reply.trouble and reply.pause:
                yield Waiting(reply.trouble.told, reply.pause)
                await asyncio.sleep(reply.pause)
                reply.pause = 0.0
            announced = 0.0
            while (attempt := self._circuit.enter()) is None:
                trouble, wait = self._circuit.outage()
                left = reply.patience.left(trouble)
                if time.monotonic() >= announced:
                    announced = time.monotonic() + wait
                    yield Waiting(trouble.told, wait)
                await self._circuit.changed(min(wait, left))
            reply.attempt = attempt

    async def _ask(self, reply: _Reply) -> AsyncGenerator[Text | Finished]:
        """One request. Streams what it brings; `reply` is then finished or ready for the next try.

        Raises ModelError if there is to be none.
        """
        limit = reply.tokens_left
        if limit <= 0:
            reply.finished = True
            yield Finished("length", reply.tokens)
            return
        prompt = self._prompt(reply)
        text = ReplyText(reply.shown, prompt.stop, limit)
        answer: Answer | None = None
        try:
            async with (
                Silence(self._settings.model_read_timeout, reply.patience) as silence,
                self._session.post(
                    self.url, data=self._endpoint.body(prompt, limit), allow_redirects=False
                ) as response,
            ):
                await _check(response)
                answer = Answer(self._endpoint.protocol, response.headers.get("content-type", ""), text, limit)
                while chunk := await response.content.readany():
                    silence.end()
                    if piece := answer.feed(chunk):
                        yield reply.show(piece, prompt)
                        reply.patience.renew()
                    if reply.attempt and answer.began:
                        reply.succeeded()
                    if answer.over:
                        break
                    silence.begin()
                silence.end()
                if piece := answer.close():
                    yield reply.show(piece, prompt)
                if answer.trouble:
                    raise answer.trouble
                reply.succeeded()
                if answer.finish_reason and reply.complete():
                    yield Finished(answer.finish_reason, reply.tokens + text.tokens)
                    await _drain(response)
        except Trouble as trouble:
            self._failed(reply, text, trouble)
        except TRANSPORT_ERRORS as error:
            self._failed(reply, text, from_exception(error, streaming=answer is not None))

    def _prompt(self, reply: _Reply) -> Prompt:
        budget = self._settings.model_context - reply.tokens_left
        return build_prompt(self._settings.preamble, reply.person, reply.turns, reply.shown, budget, self._count)

    def _failed(self, reply: _Reply, text: ReplyText, trouble: Trouble) -> None:
        """Plans the next try.

        Raises ModelError if there is to be none.
        """
        trouble.quoted = self._endpoint.without_token(trouble.quoted)
        log.warning("model: %s: %s", trouble.code, trouble.detail)
        reply.tokens += text.tokens
        reply.tokens_left -= text.tokens
        if not self._yields_to(trouble):
            reply.failed(trouble, broke_off=text.tokens > 0)

    def _yields_to(self, trouble: Trouble) -> bool:
        """Whether another request, made as this server wants it, can avoid the trouble."""
        if trouble.code == "model_too_long" and self._count is not count_bytes:
            log.warning("model: its words are not GPT-J's; prompts are counted in bytes from now on")
            self._count = count_bytes
            return True
        if trouble.code == "model_rejected" and self._endpoint.leave_out(trouble.quoted):
            log.warning("model: the server knows no REPETITION_PENALTY; it is left out from now on")
            return True
        return False


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raises Trouble unless a reply may follow."""
    if response.status != 200:
        raise from_status(response.status, response.headers, await _beginning(response))
    if "html" in response.headers.get("content-type", ""):
        raise misfit("a web page")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The body of an error, as far as it is worth reading."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ERROR_LIMIT:
            break
    return body


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Reads the last bytes of a finished answer, unless there are more than last bytes."""
    with suppress(TimeoutError, *TRANSPORT_ERRORS):
        async with asyncio.timeout(DRAIN):
            async for _ in response.content.iter_any():
                pass


def _is_gpt_j(name: str) -> bool:
    """Whether a model of this name has GPT-J's vocabulary; of another, only the bytes are known."""
    return "gpt-j" in name.lower()


def _session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """Connections, as many as there are replies and open as long as those: both are limited elsewhere."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=_trusted()),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=endpoint.headers,
        timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT),
        auto_decompress=False,
    )


def _trusted() -> ssl.SSLContext:
    """Mozilla's list of who may vouch for a server, unless OpenSSL's own variables name others."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
