"""Server-sent events, sans-I/O: bytes in, the data of each event out."""

#: A line longer than this is no event of any model server, but something that never ends.
LINE_LIMIT = 1 << 20


class EndlessLine(ValueError):
    """The stream went on for `LINE_LIMIT` bytes without a line's end."""


class EventStream:
    """Takes the bytes of one stream in pieces of any size; gives each event's data as soon as its blank line came.

    Follows the WHATWG's parsing rules as far as data goes: lines end in LF, CR or CRLF, `data` lines of an
    event are joined by LF, one space after the colon is dropped, comments and other fields are ignored.
    Works on bytes, for no line end or colon is part of a longer UTF-8 sequence.
    """

    __slots__ = ("_after_cr", "_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that `chunk` completes.

        Raises EndlessLine.
        """
        if not chunk:
            return []
        start = 1 if self._after_cr and chunk[0] == 10 else 0
        self._after_cr = chunk[-1] == 13
        lines = (self._rest + chunk[start:]).splitlines()
        self._rest = b"" if chunk[-1] in b"\r\n" else lines.pop()
        if len(self._rest) > LINE_LIMIT:
            raise EndlessLine
        return [data for line in lines if (data := self._take(line))]

    def close(self) -> bytes:
        """The data of a last event whose blank line never came; some servers leave it out."""
        return self._take(self._rest) or self._take(b"")

    def _take(self, line: bytes) -> bytes:
        if line[:5] == b"data:":
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            return data
        return b""
