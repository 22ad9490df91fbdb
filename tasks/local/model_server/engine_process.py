"""The engine process: openvino-genai's continuous batching, fed from standard input, heard on standard output.

It is a process of its own for two reasons. The library's `step()` holds Python's interpreter lock, so nothing
else would run beside it. And after an exception inside `step()` the library fails every later request too: the
process then ends, and the server starts a new one.

`python -m tasks.local.model_server.engine_process '<Options as JSON>'`
"""

import logging
import os
import random
import select
import sys
from collections.abc import Iterator
from typing import BinaryIO, NoReturn, Protocol

import numpy
import openvino
import openvino_genai

from tasks.local.model_server.messages import (
    Accepted,
    Begin,
    Cancel,
    Ended,
    Event,
    Options,
    Ready,
    Refused,
    Sampling,
    Text,
    ToEngine,
    to_engine,
)
from tasks.local.model_server.text import ReplyText
from tasks.startup import set_up_logging

log = logging.getLogger("parley.engine")

#: Prompt tokens in one step. A step cannot be interrupted, so this bounds how long a stop or another reply waits.
PROMPT_TOKENS_PER_STEP = 64

_STATUS = openvino_genai.GenerationStatus
_FINISH = openvino_genai.GenerationFinishReason


class Vocabulary:
    """Texts to token numbers and back."""

    def __init__(self, tokenizer: openvino_genai.Tokenizer, stop_tokens: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._bytes = {number: token for token, number in tokenizer.get_vocab().items()}
        self._special: dict[int, bool] = {}
        named = {number for text in stop_tokens for number in self.encode(text)}
        self.stop_tokens = named | {tokenizer.get_eos_token_id()}

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`; names of special tokens in it become those tokens."""
        return [int(number) for number in self._tokenizer.encode(text, add_special_tokens=False).input_ids.data.flat]

    def token(self, number: int) -> bytes:
        """The bytes of the token `number`; none of a special one.

        The tokenizer's own `decode` drops the bytes of half a character, so it cannot be given token by token.
        """
        # A model may have more rows than its vocabulary has tokens.
        return b"" if self._is_special(number) else self._bytes.get(number, b"")

    def _is_special(self, number: int) -> bool:
        if number not in self._special:
            whole = self._tokenizer.decode([number], skip_special_tokens=False)
            self._special[number] = bool(whole) and not self._tokenizer.decode([number])
        return self._special[number]


class Output(Protocol):
    """Tokens that one or more steps brought."""

    generated_ids: list[int]
    finish_reason: openvino_genai.GenerationFinishReason


class Handle(Protocol):
    """What `add_request` returns; the library does not export its class."""

    def can_read(self) -> bool: ...
    def read(self) -> dict[int, Output]: ...
    def get_status(self) -> openvino_genai.GenerationStatus: ...
    def cancel(self) -> None: ...


class Reply:
    """One request in the engine."""

    def __init__(self, begin: Begin, handle: Handle, vocabulary: Vocabulary) -> None:
        self._begin = begin
        self._handle = handle
        self._vocabulary = vocabulary
        self._text = ReplyText(begin.stop)

    def read(self) -> Iterator[Event]:
        """What the last step brought; after an Ended nothing follows."""
        text, tokens, finish = "", 0, _FINISH.NONE
        while self._handle.can_read() and not self._text.stopped:
            for output in self._handle.read().values():
                tokens += len(output.generated_ids)
                finish = output.finish_reason
                for number in output.generated_ids:
                    if not self._text.stopped:
                        text += self._text.add(self._vocabulary.token(number))
        status = self._handle.get_status()
        over = finish != _FINISH.NONE or status != _STATUS.RUNNING
        if over and not self._text.stopped:
            text += self._text.finish()
        if tokens:
            yield Text(id=self._begin.id, text=text, tokens=tokens)
        if self._text.stopped:
            self.cancel()
            yield Ended(id=self._begin.id, reason="stop")
        elif status == _STATUS.IGNORED:
            yield Ended(id=self._begin.id, reason="no_room")
        elif over:
            yield Ended(id=self._begin.id, reason="length" if finish == _FINISH.LENGTH else "stop")

    def cancel(self) -> None:
        """Have the engine forget it with the next step."""
        self._handle.cancel()


class Engine:
    """The pipeline and the replies in it."""

    def __init__(self, options: Options) -> None:
        self._window = options.window
        self._slots = options.slots
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(options.path, _scheduler(options), "CPU")
        self._vocabulary = Vocabulary(self._pipeline.get_tokenizer(), options.stop_tokens)
        self._waiting: dict[int, tuple[Begin, list[int]]] = {}
        self._replies: dict[int, Reply] = {}
        self._warm_up()

    @property
    def busy(self) -> bool:
        """Whether there is anything to compute, or to clear away."""
        return bool(self._waiting or self._replies) or self._pipeline.has_non_finished_requests()

    def take(self, message: ToEngine) -> Event:
        """Begin or cancel a reply."""
        if isinstance(message, Cancel):
            self._waiting.pop(message.id, None)
            # One that has just ended is not there any more.
            if reply := self._replies.pop(message.id, None):
                reply.cancel()
            return Ended(id=message.id, reason="cancelled")
        return self._begin(message)

    def step(self) -> Iterator[Event]:
        """Compute one token of every reply, or a part of a prompt."""
        # The library would take any number at once, and when its cache is full drop some and compute them again.
        while self._waiting and len(self._replies) < self._slots:
            begin, tokens = self._waiting.pop(next(iter(self._waiting)))
            handle = self._add(begin.id, tokens, begin.max_tokens, begin.sampling)
            self._replies[begin.id] = Reply(begin, handle, self._vocabulary)
        self._pipeline.step()
        for number, reply in list(self._replies.items()):
            for event in reply.read():
                if isinstance(event, Ended):
                    del self._replies[number]
                yield event

    def _begin(self, begin: Begin) -> Event:
        tokens = self._vocabulary.encode(begin.prompt) if begin.prompt else []
        # The library checks neither: it fails inside step(), and with it every reply.
        if not tokens:
            return Refused(id=begin.id, detail="The prompt is empty.")
        if len(tokens) + begin.max_tokens > self._window:
            return Refused(
                id=begin.id,
                detail=f"This model's maximum context length is {self._window} tokens; the prompt has {len(tokens)} "
                f"and {begin.max_tokens} more were asked for.",
            )
        self._waiting[begin.id] = begin, tokens
        return Accepted(id=begin.id, prompt_tokens=len(tokens))

    def _add(self, number: int, tokens: list[int], max_tokens: int, sampling: Sampling) -> Handle:
        config = _config(sampling, max_tokens, self._vocabulary.stop_tokens)
        handle: Handle = self._pipeline.add_request(number, openvino.Tensor(numpy.array([tokens])), config)
        return handle

    def _warm_up(self) -> None:
        """The first steps compile code and read the whole model from the disk: nobody shall wait for that."""
        prompt = self._vocabulary.encode("Once upon a time")
        handles = [self._add(number, prompt, 2, Sampling(temperature=0)) for number in range(self._slots)]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        del handles  # a request whose handle is gone is dropped


def _scheduler(options: Options) -> openvino_genai.SchedulerConfig:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = options.cache_gb
    scheduler.max_num_batched_tokens = PROMPT_TOKENS_PER_STEP
    # The next prompt of a conversation begins as the last one did: only what is new in it is computed.
    scheduler.enable_prefix_caching = True
    return scheduler


def _config(sampling: Sampling, max_tokens: int, stop_tokens: set[int]) -> openvino_genai.GenerationConfig:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = max_tokens
    config.stop_token_ids = stop_tokens
    config.repetition_penalty = sampling.repetition_penalty
    config.presence_penalty = sampling.presence_penalty
    config.frequency_penalty = sampling.frequency_penalty
    # The library divides by the temperature.
    config.do_sample = sampling.temperature > 0
    if config.do_sample:
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        # Its own default is the same seed for every request.
        config.rng_seed = random.getrandbits(63) if sampling.seed is None else sampling.seed
    return config


class Lines:
    """Whole lines from a file descriptor, as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def read(self, *, wait: bool) -> list[bytes]:
        """The lines that have come; with `wait`, at least a piece of one.

        Raises EOFError once the other side is gone.
        """
        if not wait and not select.select([self._descriptor], [], [], 0)[0]:
            return []
        piece = os.read(self._descriptor, 1 << 20)
        if not piece:
            raise EOFError
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return lines


def main() -> None:
    """Serve until standard input ends, which it does when the server is gone, however it died."""
    set_up_logging()
    # Whatever the library prints must not come between the messages.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            _serve(Engine(Options.model_validate_json(sys.argv[1])), Lines(0), out)
        except (EOFError, BrokenPipeError):
            return


def _serve(engine: Engine, lines: Lines, out: BinaryIO) -> NoReturn:
    out.write(Ready().line())
    out.flush()
    while True:
        for line in lines.read(wait=not engine.busy):
            out.write(engine.take(to_engine.validate_json(line)).line())
        if engine.busy:
            out.writelines(event.line() for event in engine.step())
        out.flush()


if __name__ == "__main__":
    main()
