"""One response of the model server, sans-I/O: its bytes in, the text to show out, its end and its errors kept."""

from tasks.model.decoder import Decoder, End, Event, FinishReason, Protocol, ProtocolMismatch, ServerError, Token
from tasks.model.errors import ModelRequestError, cut, from_event, protocol_mismatch, stream_error
from tasks.model.output_filter import OutputFilter


class ResponseReader:
    """Takes a response's bytes in pieces of any size until it is `over`, with a `finish_reason` or an `error`.

    `output` is the reply that the tokens belong to, `limit` the number of tokens asked for.
    """

    def __init__(self, protocol: Protocol, output: OutputFilter, limit: int) -> None:
        self._decoder = Decoder(protocol)
        self._output = output
        self._limit = limit
        self.finish_reason: FinishReason | None = None
        self.error: ModelRequestError | None = None

    @property
    def began(self) -> bool:
        """Whether a token came."""
        return self._decoder.began

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.finish_reason is not None or self.error is not None

    def feed(self, chunk: bytes) -> str:
        """The text that may be shown now."""
        return self._show(self._decoder.feed(chunk))

    def close(self) -> str:
        """The rest, now that there are no more bytes; nothing if it was over before."""
        if self.over:
            return ""
        shown = self._show(self._decoder.close())
        if self.over:
            return shown
        if self._decoder.unknown and not self.began:
            self.error = protocol_mismatch("something that is not a stream of tokens")
        else:
            self.error = cut(began=self.began)
        return shown

    def _show(self, events: list[Event]) -> str:
        shown = ""
        for event in events:
            if type(event) is Token:
                shown += self._output.add(event.text)
                if self._output.stopped:
                    self.finish_reason = "stop"
                elif self._output.full:
                    self.finish_reason = "length"
                    shown += self._output.finish("length")
            elif type(event) is End:
                self.finish_reason = event.reason or self._guessed_reason()
                shown += self._output.finish(self.finish_reason)
            elif isinstance(event, ServerError | ProtocolMismatch):
                self.error = self._error(event)
            if self.over:
                break
        return shown

    def _guessed_reason(self) -> FinishReason:
        return "length" if self._output.tokens >= self._limit else "stop"

    def _error(self, event: ServerError | ProtocolMismatch) -> ModelRequestError:
        """After good tokens every error counts as a break: the server has shown that it can answer the request."""
        error = from_event(event)
        if self.began and error.reason is None:
            broken = stream_error()
            broken.quoted = error.quoted
            return broken
        return error
