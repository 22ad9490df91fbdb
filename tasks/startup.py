"""What each process does once, when it starts."""

import gc
import logging
import sys
import time

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: Seconds in which the same line is written once.
REPEAT_SECONDS = 10.0


class OncePerWhile(logging.Filter):
    """Lets a line through once in REPEAT_SECONDS: a trouble that everybody has is written as one line, not one each.

    A traceback is always written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        now = time.monotonic()
        self._written = {line: at for line, at in self._written.items() if now - at < REPEAT_SECONDS}
        line = record.getMessage()
        if line in self._written and not record.exc_info:
            return False
        self._written[line] = now
        return True


def set_up_logging() -> None:
    """Write the log to standard error, as platforms expect; libraries report only warnings and errors.

    A line is an event and its fields, `event field=value`: never a session token, never what people wrote.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=FORMAT)
    logging.getLogger("parley").setLevel(logging.INFO)


def freeze_gc() -> None:
    """Exclude the objects that exist now from garbage collection.

    They live as long as the process. To search them takes 70 ms, in which the event loop serves nobody.
    """
    gc.collect()
    gc.freeze()
