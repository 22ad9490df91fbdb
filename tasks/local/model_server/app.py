"""The HTTP shell round the engine.

| call                 | answer                                                                        |
|----------------------|-------------------------------------------------------------------------------|
| POST /v1/completions | OpenAI's, streamed or whole; 503 while the model loads, 429 with a full queue |
| GET /v1/models       | the one model                                                                 |
| GET /health          | 200 once the model is ready; `requests`: replies in the engine                |
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from tasks.local.model_server import schema
from tasks.local.model_server.engine import Engine, EngineError, Reply
from tasks.local.model_server.messages import Accepted, Ended, Event, Refused, Text
from tasks.local.model_server.schema import DONE, WAITING, Completion

#: Requests that may wait for a slot.
LONGEST_QUEUE = 64

#: Seconds between signs of life while a prompt is read or a request waits.
SIGN_OF_LIFE = 5.0

#: The status of an answer that nobody hears; servers write it into their logs.
CLIENT_LEFT = 499

NO_ROOM = "Prompt and reply do not fit into the engine's cache; give it more with LOCAL_MODEL_CACHE_GB."


@dataclass
class RefusalError(Exception):
    """An answer that is an error."""

    status: int
    kind: str
    message: str
    retry_after: int | None = None

    def response(self) -> Response:
        """The error in OpenAI's shape."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse(schema.error(self.message, self.kind, self.status), self.status, headers)


def create_app(engine: Engine, model: str, window: int, slots: int) -> FastAPI:
    """The application for `engine`, whose model is called `model` and reads `window` tokens.

    `slots` replies are written at once; as many as LONGEST_QUEUE wait, and more are refused.
    """
    app = FastAPI(title="Parley's local model", docs_url=None, redoc_url=None)

    @app.exception_handler(RefusalError)
    async def refuse(request: Request, refusal: RefusalError) -> Response:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return RefusalError(400, "invalid_request_error", said).response()

    @app.get("/health")
    async def health() -> Response:
        status = {"status": "ready" if engine.ready else "loading", "model": model, "requests": engine.requests}
        return JSONResponse(status, 200 if engine.ready else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        described = {"id": model, "object": "model", "created": 0, "owned_by": "parley", "max_model_len": window}
        return {"object": "list", "data": [described]}

    @app.post("/v1/completions")
    async def completions(asked: schema.Request, request: Request) -> Response:
        if asked.model != model:
            raise RefusalError(404, "not_found_error", f"The model here is called {model}.")
        if engine.requests >= slots + LONGEST_QUEUE:
            raise RefusalError(429, "overloaded", "Too many requests are waiting.", retry_after=5)
        reply, completion = await _begin(engine, model, asked)
        # However the answer ends, the engine does not go on for nobody.
        leave = BackgroundTask(engine.cancel, reply)
        if asked.stream:
            events = _stream(reply, completion, usage=asked.stream_options.include_usage)
            return StreamingResponse(events, media_type="text/event-stream", background=leave)
        response = await _unless_left(request, _whole(reply, completion))
        response.background = leave
        return response

    return app


async def _begin(engine: Engine, model: str, asked: schema.Request) -> tuple[Reply, Completion]:
    """Hand the request to the engine. Raises RefusalError if it does not take it."""
    try:
        reply = engine.begin(asked.prompt, asked.max_tokens, asked.stop, asked.sampling)
        first = await reply.next()
    except EngineError as error:
        raise RefusalError(503, "service_unavailable", str(error), retry_after=2) from None
    if isinstance(first, Accepted):
        return reply, Completion(model, first.prompt_tokens)
    raise RefusalError(400, "invalid_request_error", first.detail if isinstance(first, Refused) else NO_ROOM)


async def _stream(reply: Reply, completion: Completion, *, usage: bool) -> AsyncIterator[bytes]:
    """The answer as server-sent events. An engine that fails ends it in an error event."""
    try:
        async for event in _alive(reply):
            if event is None:
                yield WAITING
            elif isinstance(event, Text):
                completion.tokens += event.tokens
                if event.text:
                    yield schema.event(completion.choice(event.text, None))
            elif isinstance(event, Ended):
                yield schema.event(completion.choice("", _reason(event)))
        if usage:
            yield schema.event(completion.last_usage())
    except EngineError as error:
        yield schema.event(schema.error(str(error), "server_error", 500))
    yield DONE


async def _whole(reply: Reply, completion: Completion) -> Response:
    """The answer in one piece."""
    text = ""
    try:
        while isinstance(event := await reply.next(), Text):
            completion.tokens += event.tokens
            text += event.text
        reason = _reason(event)
    except EngineError as error:
        return RefusalError(500, "server_error", str(error)).response()
    return JSONResponse(completion.choice(text, reason) | completion.usage())


async def _alive(reply: Reply) -> AsyncIterator[Event | None]:
    """The events of `reply` up to its last, and a None after each SIGN_OF_LIFE without one.

    Raises EngineError if the engine ended before the reply.
    """
    event: Event | None = None
    while not isinstance(event, Ended):
        event = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SIGN_OF_LIFE):
                event = await reply.next()
        yield event


def _reason(event: Event) -> Literal["stop", "length"]:
    """Why the text is over. Raises EngineError if it is not."""
    if isinstance(event, Ended) and event.reason in ("stop", "length"):
        return event.reason
    raise EngineError(NO_ROOM)


async def _unless_left(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """What `answer` brings; it is given up as soon as the client is gone."""
    answering = asyncio.create_task(answer)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=CLIENT_LEFT)
    finally:
        answering.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Return once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
