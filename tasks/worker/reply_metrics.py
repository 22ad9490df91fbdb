"""What is logged and counted of each reply."""

import logging
import time

from tasks.monitoring.metrics import Metrics
from tasks.worker.lease import Turn

log = logging.getLogger("parley.reply")


class ReplyMetrics:
    """The times and tokens of one turn, from the moment that its lease was taken.

    Args:
        metrics: where to count.
        turn: the turn.
        conversation: the conversation's id.
    """

    def __init__(self, metrics: Metrics, turn: Turn, conversation: str) -> None:
        self._metrics = metrics
        self._turn = turn
        self._conversation = conversation
        self._taken = time.time()
        self._first = 0.0
        self._tokens = 0
        #: Another worker began this turn.
        self._takeover = len(turn.partial) > turn.grows_from
        if self._takeover:
            metrics.count("takeovers")
        else:
            metrics.observe("queue_wait_seconds", max(0.0, self._taken - turn.requested_at))

    def token(self) -> None:
        """Text came from the model: one token, or some that came at once."""
        self._tokens += 1
        self._metrics.count("tokens")
        if self._tokens == 1:
            self._first = time.time()
            if not self._takeover:
                self._metrics.observe("time_to_first_token_seconds", max(0.0, self._first - self._turn.requested_at))

    def waiting(self, reason: str) -> None:
        """The model lets the reply wait."""
        self._metrics.count("model_waits", reason)

    def finished(self, finish_reason: str) -> None:
        """The reply is whole."""
        self._metrics.count("replies", finish_reason)
        log.info("reply.finished %s reason=%s", self._fields(), finish_reason)

    def failed(self, code: str) -> None:
        """The reply failed; the reason was logged where it arose."""
        self._metrics.count("replies", "failed")
        self._metrics.count("model_errors", code)
        log.warning("reply.failed %s code=%s", self._fields(), code)

    def _fields(self) -> str:
        waited = round((self._taken - self._turn.requested_at) * 1000)
        first = round((self._first - self._taken) * 1000) if self._first else -1
        return (
            f"conversation={self._conversation} message={self._turn.to} reply={self._turn.reply}"
            f" queue_ms={waited} first_ms={first} tokens={self._tokens} takeover={self._takeover}"
        )
