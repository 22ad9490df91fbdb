"""One answer of the model server, sans-I/O: its bytes in, the words to show out, its troubles raised."""

from tasks.decoder import (
    Decoder,
    End,
    Event,
    FinishReason,
    Misfit,
    Protocol,
    ServerError,
    Token,
    decode_whole,
)
from tasks.reply_text import ReplyText
from tasks.trouble import Trouble, from_event, misfit

#: Bytes of an answer that does not stream.
BODY_LIMIT = 1 << 20


class Answer:
    """Takes an answer's bytes in pieces of any size until `finish_reason` is set.

    `text` is the reply that its tokens belong to, `limit` the number of tokens asked for. An answer whose
    type is JSON does not stream; it is taken as one piece at its end.
    """

    def __init__(self, protocol: Protocol, content_type: str, text: ReplyText, limit: int) -> None:
        self._protocol = protocol
        self._decoder = Decoder(protocol)
        self._streamed = "event-stream" in content_type
        self._body: bytearray | None = bytearray() if "json" in content_type else None
        self._text = text
        self._limit = limit
        self.began = False
        self.finish_reason: FinishReason | None = None

    def feed(self, chunk: bytes) -> str:
        """What may be shown now.

        Raises Trouble if the server reports an error or speaks another protocol.
        """
        if self._body is None:
            return self._show(self._decoder.feed(chunk))
        self._body += chunk
        if len(self._body) > BODY_LIMIT:
            raise misfit("more than a reply can be")
        return ""

    def close(self) -> str:
        """The rest, once the answer is over; nothing if it was finished before.

        Raises Trouble if it broke off.
        """
        if self.finish_reason is not None:
            return ""
        if self._body is not None:
            return self._show([*decode_whole(self._protocol, bytes(self._body)), End(None)])
        shown = self._show(self._decoder.close())
        if self.finish_reason is None:
            raise self._cut()
        return shown

    def _cut(self) -> Trouble:
        if self.began:
            return Trouble("model_cut", "The connection to the model broke in the middle of its reply.", "retrying")
        if self._streamed:
            return Trouble("model_cut", "The model server ended its answer before the first word.", "retrying")
        return misfit("something that is not a stream of tokens")

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
            elif isinstance(event, ServerError | Misfit):
                raise self._trouble(event)
            if self.finish_reason is not None:
                break
        return shown

    def _guessed_reason(self) -> FinishReason:
        return "length" if self._text.tokens >= self._limit else "stop"

    def _trouble(self, event: ServerError | Misfit) -> Trouble:
        """After good tokens even nonsense counts as a break, for the protocol has been shown to fit."""
        trouble = from_event(event)
        if self.began and trouble.reason is None:
            return Trouble("model_stream_error", "The model failed in the middle of its reply.", "retrying")
        return trouble
