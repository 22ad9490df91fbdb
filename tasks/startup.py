"""What each process does once, when it starts."""

import gc
import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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
