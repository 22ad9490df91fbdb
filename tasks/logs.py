"""The log: one line per thing that matters, `key=value` after the words, never a token, never what people wrote."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up() -> None:
    """Write to standard error, as platforms expect it; libraries speak up only when something is wrong."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=FORMAT)
    logging.getLogger("parley").setLevel(logging.INFO)
