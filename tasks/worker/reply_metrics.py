"""What is told of a reply afterwards: one log line that follows its message, and the figures."""

import logging
import time
from datetime import datetime

from tasks.monitoring.metrics import Metrics
from tasks.worker.lease import Turn

log = logging.getLogger("parley.reply")


class ReplyMetrics:
    """Keeps the time of one turn, from the moment that its lease was taken."""

    def __init__(self, metrics: Metrics, turn: Turn, conversation: str) -> None:
        self._figures = metrics
        self._turn = turn
        self._conversation = conversation
        self._accepted = datetime.fromisoformat(turn.messages[-1]["timestamp"]).timestamp()
        self._taken = time.time()
        self._first = 0.0
        self._tokens = 0
        if turn.partial:
            metrics.count("takeovers")
        else:
            metrics.observe("queue_seconds", self._taken - self._accepted)

    def text(self) -> None:
        """Text came from the model, of one token if no more came at once."""
        self._tokens += 1
        if self._tokens == 1:
            self._first = time.time()
            self._figures.observe("first_token_seconds", self._first - self._accepted)

    def waits(self, reason: str) -> None:
        """The model lets us wait."""
        self._figures.count("model_waits", reason)

    def finished(self, finish_reason: str, tokens: int = 0) -> None:
        """The reply is whole; the model brought so many tokens, if it did so here."""
        self._tokens = tokens
        self._end(finish_reason)
        log.info("finished %s reason=%s", self._line(), finish_reason)

    def failed(self, code: str) -> None:
        """The reply failed; why, was logged where it happened."""
        self._end("failed")
        self._figures.count("model_errors", code)
        log.warning("failed %s code=%s", self._line(), code)

    def _end(self, outcome: str) -> None:
        self._figures.count("replies", outcome)
        self._figures.count("tokens", by=self._tokens)

    def _line(self) -> str:
        waited = round((self._taken - self._accepted) * 1000)
        first = round((self._first - self._taken) * 1000) if self._first else -1
        return (
            f"conversation={self._conversation} message={self._turn.to} reply={self._turn.reply}"
            f" queue_ms={waited} first_ms={first} tokens={self._tokens} takeover={bool(self._turn.partial)}"
        )
