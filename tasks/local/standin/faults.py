"""What the stand-in does wrong when told to: faults wait in a list, and each request takes the first that is due."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal[
    # instead of an answer
    "status", "loading", "rate_limited", "html", "garbage", "chat", "refuse", "hang",
    # in the middle of one, `after` so many tokens
    "cut", "end", "error", "silent",
    # all through it
    "slow", "empty",
]  # fmt: skip


class Fault(BaseModel):
    """One fault: what (`mode`), for how many requests (`count`, 0 for all) once `skip` others have passed.

    `after`: tokens sent before it. `status`, `body`, `retry_after`, `estimated_time`, `error`, `rate` belong to
    the modes that use them.
    """

    model_config = ConfigDict(extra="forbid")

    mode: Mode
    count: int = Field(1, ge=0)
    skip: int = Field(0, ge=0)
    after: int = Field(0, ge=0)
    status: int = Field(500, ge=300, le=599)
    body: Any = None
    retry_after: float | None = None
    estimated_time: float | None = None
    error: str = "generation"
    rate: float = Field(2.0, gt=0)


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def take(self) -> Fault | None:
        """The fault of the next request, if it has one."""
        for at, fault in enumerate(self.waiting):
            if fault.skip:
                self.waiting[at] = fault.model_copy(update={"skip": fault.skip - 1})
                return None
            if fault.count == 1:
                del self.waiting[at]
            elif fault.count:
                self.waiting[at] = fault.model_copy(update={"count": fault.count - 1})
            return fault
        return None
