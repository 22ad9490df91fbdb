"""Server-sent events, sans-I/O: bytes in, the data of each event out.

The rules are those of https://html.spec.whatwg.org/multipage/server-sent-events.html, as far as data goes, and two
things that model servers add: lines that name an error, and lines of bare JSON.
"""

#: Bytes that one event may have. A longer one is no event of any model server, but something that never ends.
EVENT_LIMIT = 1 << 20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """One event took more than `EVENT_LIMIT` bytes."""


class ErrorData(bytes):
    """The data of an event that the server itself calls an error: `event: error`, or llama.cpp's `error: …`."""


class EventStream:
    """Takes the bytes of one stream in pieces of any size; gives the data of each event once its blank line came.

    Lines end in LF, CR or CRLF, `data` lines of an event are joined by LF, one space after the colon is dropped,
    comments are ignored, a byte order mark may come first. A line that begins with `{` is an event by itself: some
    servers and proxies put a bare JSON error, or all of their events, into the stream like that.
    Works on bytes, because no line end or colon is part of a longer UTF-8 sequence.
    """

    __slots__ = ("_after_cr", "_data", "_error", "_rest", "_size", "_started", "unknown_lines")

    def __init__(self) -> None:
        self._started = False
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._error = False
        #: A line came that has no place in a stream of events.
        self.unknown_lines = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that `chunk` completes.

        Raises EventTooLongError.
        """
        if not chunk:
            return []
        start = 1 if self._after_cr and chunk[0] == 10 else 0
        self._after_cr = chunk[-1] == 13
        text = self._rest + chunk[start:]
        if not self._started:
            if len(text) < 3 and _BYTE_ORDER_MARK.startswith(text):
                self._rest = text
                return []
            self._started = True
            text = text.removeprefix(_BYTE_ORDER_MARK)
        lines = text.splitlines()
        self._rest = b"" if chunk[-1] in b"\r\n" else lines.pop()
        events = [data for line in lines if (data := self._take(line))]
        if len(self._rest) + self._size > EVENT_LIMIT:
            raise EventTooLongError
        return events

    def close(self) -> list[bytes]:
        """The data of a last event whose blank line never came; some servers leave it out."""
        rest = (self._rest if self._started else b"", b"")
        return [data for line in rest if (data := self._take(line))]

    def _take(self, line: bytes) -> bytes:
        """The data of the event that `line` completes."""
        if line[:5] == b"data:":
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            return self._dispatch()
        elif line[:1] == b"{":
            return line
        elif line[:6] == b"error:":
            self._error = True
            self._add(line[6:].strip())
        elif line[:6] == b"event:":
            self._error = line[6:].strip().lower() in (b"error", b"exception")
        elif line == b"data":
            self._add(b"")
        elif line[:1] != b":" and line.partition(b":")[0] not in (b"id", b"retry", b"event"):
            self.unknown_lines = True
        return b""

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._size += len(data) + 1

    def _dispatch(self) -> bytes:
        data, error = self._data, self._error
        self._data, self._size, self._error = [], 0, False
        joined = data[0] if len(data) == 1 else b"\n".join(data)
        return ErrorData(joined) if error else joined
