"""The model's side of a reply: asks the server, streams its text, waits and asks again where that can help."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from urllib.request import getproxies

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from tasks.errors import SettingsError
from tasks.model.circuit_breaker import Attempt, CircuitBreaker
from tasks.model.decoder import FinishReason
from tasks.model.errors import (
    QUOTE_LIMIT,
    ModelRequestError,
    Reason,
    empty,
    from_exception,
    from_status,
    is_disconnect,
)
from tasks.model.known_models import KnownModel, known_model
from tasks.model.output_filter import OutputFilter
from tasks.model.prompt import SHORTENED, Prompt, Turn, build_prompt, least_budget
from tasks.model.request import Endpoint
from tasks.model.response import ResponseReader
from tasks.model.retry import RetryPolicy
from tasks.model.tokens import count_bytes, count_tokens
from tasks.settings import DEFAULT_PREAMBLE, Settings

log = logging.getLogger("parley.model")

#: Seconds to reach the server.
CONNECT_TIMEOUT = 10.0
#: Connections at once: more than a process has replies, which are limited elsewhere.
MAX_CONNECTIONS = 10_000
#: Seconds that an unused connection is kept; less than the 5 after which uvicorn, and so vLLM, closes it.
KEEP_ALIVE = 4.0
#: Seconds that a finished response has for its last bytes, so that its connection can be used again.
DRAIN_TIMEOUT = 0.25
#: Bytes that are read of a response that is an error, and seconds that they may take.
ERROR_LIMIT, ERROR_TIMEOUT = 1 << 16, 5.0

#: What the transport raises: httpx's errors, and those of aiohttp that its adapter passes on as they are.
TRANSPORT_ERRORS = (httpx.RequestError, aiohttp.ClientError, OSError)


@dataclass(slots=True)
class Text:
    """More of the reply; it is never withdrawn."""

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


ReplyEvent = Text | Waiting | Finished


@dataclass(slots=True)
class _Reply:
    """One reply under way: what it answers, what was shown of it, and why it has to wait."""

    person: str
    turns: Sequence[Turn]
    shown: str
    tokens_left: int
    retry: RetryPolicy
    tokens: int = 0
    error: ModelRequestError | None = None
    pause: float = 0.0
    attempt: Attempt | None = None
    finished: Finished | None = None

    def finish(self, reason: FinishReason, tokens: int) -> None:
        """The model is done; a reply without any words is asked for again.

        Raises ModelError if that was done before.
        """
        if self.shown:
            self.finished = Finished(reason, self.tokens + tokens)
        else:
            self.retry.on_empty(empty())

    def plan_retry(self, error: ModelRequestError, *, broke_off: bool) -> None:
        """Decides when to ask again.

        Raises ModelError if that is never.
        """
        if self.attempt and error.reason:
            self.attempt.failed(error)
        self.error = error
        self.pause = self.retry.on_break(error) if broke_off else self.retry.on_failure(error)

    def succeeded(self) -> None:
        """Tells the circuit breaker, once."""
        if self.attempt:
            self.attempt.succeeded()
        self.attempt = None

    def release(self) -> None:
        """Gives the attempt back if the request says nothing about the server's health."""
        if self.attempt:
            self.attempt.release()
        self.attempt = None

    def show(self, text: str, prompt: Prompt) -> Text:
        """`text` as an event; before a reply's first text goes the notice that the message was shortened."""
        notice = SHORTENED if prompt.shortened and not self.shown else ""
        self.shown += text
        self.retry.on_text()
        return Text(notice + text)


class Model:
    """The model server of `settings`, for one process and one event loop.

    Raises SettingsError if the settings do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = Endpoint(settings)
        self.breaker = CircuitBreaker()
        known = known_model(settings.model_name)
        self._style = known.style
        self._preamble = _preamble(settings, known)
        self._count: Callable[[str], int] = count_tokens if known.vocabulary == "gpt-2" else count_bytes
        if least_budget(self._preamble, self._count, known.style) > settings.model_context - settings.max_new_tokens:
            raise SettingsError("PREAMBLE and MAX_NEW_TOKENS leave no room for a message in MODEL_CONTEXT")
        #: The address that is asked, fit to be shown.
        self.url = self._endpoint.shown_url
        self._http = _http_client(settings.model_read_timeout)
        self._draining: dict[asyncio.Task[None], httpx.Response] = {}
        log.info("model.configured url=%s protocol=%s", self.url, settings.model_protocol)

    async def aclose(self) -> None:
        """Closes every connection."""
        draining = dict(self._draining)
        for task in draining:
            task.cancel()
        await asyncio.gather(*draining, return_exceptions=True)
        # A task that was cancelled before its first step has closed nothing.
        for response in draining.values():
            await response.aclose()
        await self._http.aclose()

    async def reply(
        self, person: str, turns: Sequence[Turn], partial: str, grows_from: int = 0
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The reply to the last of `turns`, or what is missing of it after `partial`; the last event is Finished.

        `grows_from`: characters of `partial` that do not count against MAX_NEW_TOKENS, for they are an earlier reply's
        that is continued. Iterate inside `contextlib.aclosing`: leaving it closes the request at once. Nothing is read
        from the server while no event is asked for, beyond a buffer of 128 KiB. Raises ModelError.
        """
        shown = partial.removeprefix(SHORTENED)
        # By words or by characters, for scripts without spaces: a reply taken over may get somewhat shorter or longer.
        grown = partial[grows_from:].removeprefix(SHORTENED)
        tokens_left = self._settings.max_new_tokens - max(len(grown.split()), len(grown) // 8)
        reply = _Reply(person, turns, shown, tokens_left, RetryPolicy(self._settings.model_retry_timeout))
        try:
            while not reply.finished:
                async with aclosing(self._wait(reply)) as waits:
                    async for waiting in waits:
                        yield waiting
                async with aclosing(self._ask(reply)) as texts:
                    async for text in texts:
                        yield text
                reply.release()
            yield reply.finished
        finally:
            reply.release()

    async def _wait(self, reply: _Reply) -> AsyncGenerator[Waiting, None]:
        """Waits until the server may be asked; `reply.attempt` is then the circuit breaker's permission."""
        if reply.error and reply.pause:
            yield Waiting(reply.error.waiting_reason, reply.pause)
            await asyncio.sleep(reply.pause)
            reply.pause = 0.0
        announced = 0.0
        while (attempt := self.breaker.enter()) is None:
            error, wait = self.breaker.outage()
            left = reply.retry.remaining(error)
            if time.monotonic() >= announced:
                announced = time.monotonic() + wait
                yield Waiting(error.waiting_reason, wait)
            await self.breaker.changed(min(wait, left))
        reply.attempt = attempt

    async def _ask(self, reply: _Reply) -> AsyncGenerator[Text, None]:
        """The text of one request; `reply` is then finished or ready for the next try.

        Raises ModelError if there is to be none.
        """
        limit = reply.tokens_left
        if limit <= 0:
            reply.finished = Finished("length", reply.tokens)
            return
        prompt = self._prompt(reply)
        output = OutputFilter(reply.shown, prompt.stop, limit)
        reader = ResponseReader(self._endpoint.protocol, output, limit)
        first_word_by = time.monotonic() + self._settings.model_read_timeout

        def seconds_left() -> float:
            # httpx limits the wait for a byte. A server that only keeps the connection alive needs a limit as well.
            return max(first_word_by - time.monotonic(), reply.retry.seconds_left)

        response: httpx.Response | None = None
        chunks: AsyncIterator[bytes] | None = None
        try:
            async with asyncio.timeout(max(seconds_left(), 0)):
                response = await self._send(self._endpoint.body(prompt, limit))
            if not response.is_success:
                start = await _beginning(response)
                raise from_status(response.status_code, response.headers, start, self._endpoint.url)
            chunks = _chunks(response, seconds_left)
            while not reader.over:
                chunk = await anext(chunks, b"")
                text = reader.feed(chunk) if chunk else reader.close()
                if reply.attempt and reader.began:
                    reply.succeeded()
                if text:
                    yield reply.show(text, prompt)
                elif seconds_left() < 0:
                    raise TimeoutError
            if reader.error:
                raise reader.error
            if reader.finish_reason:
                reply.succeeded()
                reply.finish(reader.finish_reason, output.tokens)
        except ModelRequestError as error:
            self._on_error(reply, output, prompt, error)
        except TRANSPORT_ERRORS as error:
            self._on_error(
                reply, output, prompt, from_exception(error, answered=chunks is not None, began=reader.began)
            )
        finally:
            if response:
                await self._leave(response, chunks if reader.finish_reason else None)

    async def _send(self, body: bytes) -> httpx.Response:
        """Sends a request; returns when the head of its response has come.

        A server may close an unused connection in the moment in which it is used again, so a connection that closes
        before a byte came is replaced once. Raises TRANSPORT_ERRORS.
        """
        request = self._http.build_request("POST", self._endpoint.url, content=body, headers=self._endpoint.headers)
        try:
            return await self._http.send(request, stream=True)
        except TRANSPORT_ERRORS as error:
            if not is_disconnect(error):
                raise
        return await self._http.send(request, stream=True)

    async def _leave(self, response: httpx.Response, rest: AsyncIterator[bytes] | None) -> None:
        """Closes a response; of a finished one the last bytes may still come, so that its connection can be kept."""
        if rest is None:
            await response.aclose()
            return
        task = asyncio.create_task(_drain(response, rest))
        self._draining[task] = response
        task.add_done_callback(self._draining.pop)

    def _prompt(self, reply: _Reply) -> Prompt:
        budget = self._settings.model_context - reply.tokens_left
        return build_prompt(
            self._preamble, reply.person, reply.turns, reply.shown, budget, self._count, style=self._style
        )

    def _on_error(self, reply: _Reply, output: OutputFilter, prompt: Prompt, error: ModelRequestError) -> None:
        """Decides how the reply goes on.

        Raises ModelError if it does not.
        """
        # Secrets are taken out before the text is cut: a part of one is a secret, too.
        error.quoted = self._endpoint.redact(error.quoted, prompt)[:QUOTE_LIMIT]
        log.warning("model.request_failed code=%s cause=%r server=%r", error.code, error.operator, error.quoted)
        reply.tokens += output.tokens
        reply.tokens_left -= output.tokens
        if not self._adapts_to(error):
            reply.plan_retry(error, broke_off=output.tokens > 0)

    def _adapts_to(self, error: ModelRequestError) -> bool:
        """Whether another request, made as this server wants it, can avoid the error."""
        if error.code == "model_too_long" and self._count is not count_bytes:
            log.warning("model.count_bytes cause='the vocabulary of the server is not that of GPT-J'")
            self._count = count_bytes
            return True
        if error.code == "model_rejected" and (name := self._endpoint.drop_unsupported_parameter(error.named)):
            log.warning("model.parameter_dropped name=%s cause='the server does not know it'", name)
            return True
        return False


def _chunks(response: httpx.Response, seconds_left: Callable[[], float]) -> AsyncIterator[bytes]:
    """The body, decompressed if need be. Compressed bytes may decode to nothing, so they get a limit of their own."""
    return _decoded(response, seconds_left) if "content-encoding" in response.headers else response.aiter_raw()


async def _decoded(response: httpx.Response, seconds_left: Callable[[], float]) -> AsyncGenerator[bytes, None]:
    chunks = response.aiter_bytes()
    while True:
        async with asyncio.timeout(max(seconds_left(), 0)):
            if not (chunk := await anext(chunks, b"")):
                return
        yield chunk


async def _drain(response: httpx.Response, rest: AsyncIterator[bytes]) -> None:
    """Reads the last bytes of a finished response and closes it."""
    with contextlib.suppress(*TRANSPORT_ERRORS):
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                async for _ in rest:
                    pass
        finally:
            await response.aclose()


async def _beginning(response: httpx.Response) -> bytes:
    """The body of an error, as far as it is worth reading and comes in time."""
    body = b""
    with contextlib.suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(ERROR_TIMEOUT):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ERROR_LIMIT:
                    break
    return body


def _http_client(read_timeout: float) -> httpx.AsyncClient:
    """httpx over aiohttp's transport, which reads a stream at a third of the cost of httpx's own.

    Proxies and certificates are those of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE,
    SSL_CERT_DIR. Redirects are not followed: they would take prompts and the token elsewhere. Raises SettingsError.
    """
    # It logs the address of each request, with the key that its query may hold.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for scheme, proxy in getproxies().items():
        if scheme in ("http", "https", "all") and "://" in proxy and not proxy.startswith(("http://", "https://")):
            raise SettingsError(f"{scheme.upper()}_PROXY must begin with http:// or https://")
    try:
        certificates = httpx.create_ssl_context()
    except (OSError, ssl.SSLError):
        raise SettingsError("SSL_CERT_FILE or SSL_CERT_DIR holds no certificates that can be read") from None
    try:
        return HttpxAiohttpClient(
            timeout=httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT, pool=None),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE),
            verify=certificates,
        )
    except (ValueError, httpx.InvalidURL):
        raise SettingsError("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY holds no valid address") from None


def _preamble(settings: Settings, known: KnownModel) -> str:
    """The person's own, or else the one that the model was trained on, if any."""
    return known.preamble if known.preamble and settings.preamble == DEFAULT_PREAMBLE else settings.preamble
