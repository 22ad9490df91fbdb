"""The one tree of errors: each class is one kind of trouble, each text a sentence a person can act on."""


class ParleyError(Exception):
    """Anything that Parley itself reports; `str(error)` may be shown to people and never holds a secret."""


class SettingsError(ParleyError):
    """A setting is missing or makes no sense; the text names it."""


class StorageError(ParleyError):
    """Redis cannot be used as it is: away, too old, without JSON, read-only or full."""


class StorageUnavailableError(StorageError):
    """Redis cannot do this now, but later: what was asked may or may not have been done, and may be asked again."""


class UnsupportedRedisError(StorageError):
    """This Redis can never hold conversations, however long one waits."""


class ConversationGoneError(ParleyError):
    """No conversation belongs to this token: it never existed, has expired, or was deleted."""


class InvalidNameError(ParleyError):
    """Nobody can be called by this name; the text says why."""


class FrameRejectedError(ParleyError):
    """A frame is not carried out: the client gets `code` and the sentence `detail`.

    `id` is the frame's own, `retry_in` the seconds after which it may be sent again.
    """

    def __init__(self, code: str, detail: str, *, id: str | None = None, retry_in: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.id = id
        self.retry_in = retry_in


class SlowConsumerError(ParleyError):
    """A reader fell too far behind and has to come back with its cursor."""


class ResyncNeededError(ParleyError):
    """Redis forgot what this reader had seen: it needs a snapshot."""


class ClientTooSlowError(ParleyError):
    """A client takes nothing of what it is sent."""


class TooManyConnectionsError(ParleyError):
    """This session or address has as many sockets open as it may."""


class FloodError(ParleyError):
    """A socket sends frames faster than any person does, for longer than a burst."""


class LeaseLostError(ParleyError):
    """Somebody else may write this reply now (or it was stopped), so nothing more may be added to it."""


class ModelError(ParleyError):
    """The model did not answer, for a reason that trying again inside this reply will not cure.

    `code` is stable and machine-readable. `detail` is the sentence for the person, `operator` the one for whoever runs
    the site: it may name settings and goes to the log. `retryable` says whether asking again later can help.
    """

    def __init__(self, code: str, detail: str, *, retryable: bool, operator: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.operator = operator or detail
