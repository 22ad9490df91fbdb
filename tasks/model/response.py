"""One answer of the model server, sans-I/O: its bytes in, the words to show out, its end and its troubles told."""

from tasks.model.decoder import (
    Decoder,
    End,
    Event,
    FinishReason,
    Protocol,
    ProtocolMismatch,
    ServerError,
    Token,
    decode_whole,
)
from tasks.model.errors import ModelRequestError, from_event, protocol_mismatch
from tasks.model.output_filter import OutputFilter

#: Bytes of an answer that does not stream.
BODY_LIMIT = 1 << 20


class Answer:
    """Takes an answer's bytes in pieces of any size until it is `over`, with a `finish_reason` or in `trouble`.

    `text` is the reply that its tokens belong to, `limit` the number of tokens asked for. An answer whose
    type is JSON does not stream; it is taken as one piece at its end.
    """

    def __init__(self, protocol: Protocol, content_type: str, text: OutputFilter, limit: int) -> None:
        self._protocol = protocol
        self._decoder = Decoder(protocol)
        self._streamed = "event-stream" in content_type
        self._body: bytearray | None = bytearray() if "json" in content_type else None
        self._text = text
        self._limit = limit
        self.began = False
        self.finish_reason: FinishReason | None = None
        self.trouble: ModelRequestError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.finish_reason is not None or self.trouble is not None

    def feed(self, chunk: bytes) -> str:
        """What may be shown now."""
        if self._body is None:
            return self._show(self._decoder.feed(chunk))
        self._body += chunk
        if len(self._body) > BODY_LIMIT:
            self.trouble = protocol_mismatch("more than a reply can be")
        return ""

    def close(self) -> str:
        """The rest, now that there are no more bytes; nothing if it was over before."""
        if self.over:
            return ""
        if self._body is not None:
            return self._show([*decode_whole(self._protocol, bytes(self._body)), End(None)])
        shown = self._show(self._decoder.close())
        if not self.over:
            self.trouble = self._cut()
        return shown

    def _cut(self) -> ModelRequestError:
        if self.began:
            return ModelRequestError(
                "model_cut", "The connection to the model broke in the middle of its reply.", "retrying"
            )
        if self._streamed:
            return ModelRequestError(
                "model_cut", "The model server ended its answer before the first word.", "retrying"
            )
        return protocol_mismatch("something that is not a stream of tokens")

    def _show(self, events: list[Event]) -> str:
        shown = ""
        for event in events:
            if type(event) is Token:
                self.began = True
                shown += self._text.add(event.text)
                if self._text.stopped:
                    self.finish_reason = "stop"
            elif type(event) is End:
                self.finish_reason = event.reason or self._guessed_reason()
                shown += self._text.finish(self.finish_reason)
            elif isinstance(event, ServerError | ProtocolMismatch):
                self.trouble = self._told(event)
            if self.over:
                break
        return shown

    def _guessed_reason(self) -> FinishReason:
        return "length" if self._text.tokens >= self._limit else "stop"

    def _told(self, event: ServerError | ProtocolMismatch) -> ModelRequestError:
        """After good tokens even nonsense counts as a break, for the protocol has been shown to fit."""
        trouble = from_event(event)
        if self.began and trouble.reason is None:
            return ModelRequestError("model_stream_error", "The model failed in the middle of its reply.", "retrying")
        return trouble
