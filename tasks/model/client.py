"""The model's side of a reply: asks the server, streams what it says, waits and asks again where that can help."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from tasks.errors import SettingsError
from tasks.model.circuit_breaker import Attempt, Circuit
from tasks.model.connection import Connection, NotHttp
from tasks.model.decoder import FinishReason
from tasks.model.errors import Reason, Trouble, from_exception, from_status, misfit
from tasks.model.known_models import KnownModel, known_model
from tasks.model.output_filter import ReplyText
from tasks.model.prompt import SHORTENED, Prompt, Turn, build_prompt, least_budget
from tasks.model.request import Endpoint
from tasks.model.response import Answer
from tasks.model.retry import Patience
from tasks.model.silence import Silence
from tasks.model.tokens import count_bytes, count_tokens
from tasks.model.upstream import Upstream
from tasks.settings import DEFAULT_PREAMBLE, Settings

log = logging.getLogger("parley.model")

#: Bytes read of an answer that is an error.
ERROR_LIMIT = 1 << 16

#: What the transport raises.
TRANSPORT_ERRORS = (OSError, NotHttp)

EMPTY = Trouble("model_empty", "The model answered without a single word.", "retrying")

Rest = Callable[[], AbstractAsyncContextManager[None]]


class Listener(Protocol):
    """Whoever a reply is told to."""

    def text(self, text: str) -> bool:
        """More of the reply, never withdrawn; False if no more is wanted until `room`. May raise what it likes."""

    async def room(self) -> None:
        """Wait until more is wanted."""

    def waiting(self, reason: Reason, retry_in: float) -> None:
        """The model cannot answer now; it is asked again in about `retry_in` seconds."""


@dataclass(slots=True)
class Finished:
    """The reply is complete; this call brought `tokens` of it."""

    finish_reason: FinishReason
    tokens: int = 0


@dataclass(slots=True)
class _Reply:
    """One reply under way: what it answers, what was shown of it and to whom, and why it has to wait."""

    listener: Listener
    person: str
    turns: Sequence[Turn]
    shown: str
    tokens_left: int
    patience: Patience
    tokens: int = 0
    trouble: Trouble | None = None
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
            self.patience.came_empty(EMPTY)

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

    def show(self, text: str, prompt: Prompt) -> bool:
        """Tell `text`, the first of it after the notice that the message was shortened; False if that is enough."""
        notice = SHORTENED if prompt.shortened and not self.shown else ""
        self.shown += text
        self.patience.renew()
        return self.listener.text(notice + text)


class Model:
    """The model server of `settings`, for one process and one event loop.

    Raises SettingsError if the settings do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = Endpoint(settings)
        self._circuit = Circuit()
        known = known_model(settings.model_name)
        self._style = known.style
        self._preamble = _preamble(settings, known)
        self._count: Callable[[str], int] = count_tokens if known.vocabulary == "gpt-2" else count_bytes
        if least_budget(self._preamble, self._count, known.style) > settings.model_context - settings.max_new_tokens:
            raise SettingsError("PREAMBLE and MAX_NEW_TOKENS leave no room for a message in MODEL_CONTEXT")
        self.url = self._endpoint.url
        self._upstream = Upstream(self.url, self._endpoint.headers)
        log.info("model: POST %s (%s)", self.url, settings.model_protocol)

    def close(self) -> None:
        """Closes every connection."""
        self._upstream.close()

    async def reply(self, person: str, turns: Sequence[Turn], partial: str, rest: Rest, listener: Listener) -> Finished:
        """Tell the reply to the last of `turns`, or what is missing of it after `partial`, to `listener`.

        `rest()` is entered while the reply waits. Whoever is cancelled here closes the request at once.
        Raises ModelError, and what `listener` raises.
        """
        shown = partial.removeprefix(SHORTENED)
        # By words or by characters, for scripts without spaces: a reply taken over may get somewhat shorter or longer.
        tokens_left = self._settings.max_new_tokens - max(len(shown.split()), len(shown) // 8)
        reply = _Reply(listener, person, turns, shown, tokens_left, Patience(self._settings.model_patience))
        try:
            while not reply.finished:
                await self._leave(reply, rest)
                await self._ask(reply)
                reply.leave_to_others()
        finally:
            reply.leave_to_others()
        return reply.finished

    async def _leave(self, reply: _Reply, rest: Rest) -> None:
        """Waits until the server may be asked; `reply.attempt` then holds the circuit's leave."""
        if not reply.pause and (attempt := self._circuit.enter()):
            reply.attempt = attempt
            return
        async with rest():
            if reply.trouble and reply.pause:
                reply.listener.waiting(reply.trouble.told, reply.pause)
                await asyncio.sleep(reply.pause)
                reply.pause = 0.0
            announced = 0.0
            while (attempt := self._circuit.enter()) is None:
                trouble, wait = self._circuit.outage()
                left = reply.patience.left(trouble)
                if time.monotonic() >= announced:
                    announced = time.monotonic() + wait
                    reply.listener.waiting(trouble.told, wait)
                await self._circuit.changed(min(wait, left))
            reply.attempt = attempt

    async def _ask(self, reply: _Reply) -> None:
        """One request, told as it is answered; `reply` is then finished or ready for the next try.

        Raises ModelError if there is to be none.
        """
        limit = reply.tokens_left
        if limit <= 0:
            reply.finished = Finished("length", reply.tokens)
            return
        prompt = self._prompt(reply)
        text = ReplyText(reply.shown, prompt.stop, limit)
        answer: Answer | None = None
        try:
            async with (
                Silence(self._settings.model_read_timeout, reply.patience) as silence,
                self._upstream.post(self._endpoint.body(prompt, limit)) as response,
            ):
                await _check(response)
                answer = Answer(self._endpoint.protocol, response.headers.get("content-type", ""), text, limit)
                await _Telling(reply, prompt, answer, silence).tell(response)
            reply.succeeded()
            if answer.finish_reason:
                reply.finish(answer.finish_reason, text.tokens)
        except Trouble as trouble:
            self._failed(reply, text, trouble)
        except TRANSPORT_ERRORS as error:
            self._failed(reply, text, from_exception(error, streaming=answer is not None))

    def _prompt(self, reply: _Reply) -> Prompt:
        budget = self._settings.model_context - reply.tokens_left
        return build_prompt(
            self._preamble, reply.person, reply.turns, reply.shown, budget, self._count, style=self._style
        )

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


class _Telling:
    """Tells what one answer brings, from the moment that its head has come."""

    def __init__(self, reply: _Reply, prompt: Prompt, answer: Answer, silence: Silence) -> None:
        self._reply = reply
        self._prompt = prompt
        self._answer = answer
        self._silence = silence
        self._enough = False

    async def tell(self, response: Connection) -> None:
        """All of it. Raises Trouble, what the transport raises and what the listener raises."""
        while not (self._answer.over or response.ended):
            self._silence.begin()
            await response.read(self._take)
            self._silence.end()
            if self._enough:
                await self._reply.listener.room()
                self._enough = False
        self._show(self._answer.close())
        if self._answer.trouble:
            raise self._answer.trouble

    def _take(self, piece: bytes) -> bool:
        self._show(self._answer.feed(piece))
        if self._reply.attempt and self._answer.began:
            self._reply.succeeded()
        self._silence.begin()
        return not (self._enough or self._answer.over)

    def _show(self, text: str) -> None:
        if text:
            self._enough = not self._reply.show(text, self._prompt)


async def _check(response: Connection) -> None:
    """Raises Trouble unless a reply may follow."""
    if response.status != 200:
        raise from_status(response.status, response.headers, await _beginning(response))
    if "html" in response.headers.get("content-type", ""):
        raise misfit("a web page")


async def _beginning(response: Connection) -> bytes:
    """The body of an error, as far as it is worth reading."""
    body = bytearray()

    def take(piece: bytes) -> bool:
        body.extend(piece)
        return len(body) <= ERROR_LIMIT

    await response.read(take)
    return bytes(body)


def _preamble(settings: Settings, known: KnownModel) -> str:
    """The person's own, or else the one that the model was trained on, if any."""
    return known.preamble if known.preamble and settings.preamble == DEFAULT_PREAMBLE else settings.preamble
