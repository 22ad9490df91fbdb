"""What Chromium's own tracing saw on the page's main thread between two marks that the page set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

CATEGORIES = (
    "-*", "devtools.timeline", "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame", "blink.user_timing",
)  # fmt: skip

#: Names of the marks around what is measured; without a first one it begins with the trace.
BEGIN, END = "bench:begin", "bench:end"

#: Milliseconds from which on Chromium calls a task long.
LONG = 50.0

Event = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What the main thread did without a pause: milliseconds by the clock, and by the thread's own CPU clock."""

    took: float
    cpu: float


class Trace:
    """One recording, cut to what lies between the marks."""

    def __init__(self, recorded: bytes) -> None:
        events: list[Event] = orjson.loads(recorded)["traceEvents"]
        end = next(event for event in reversed(events) if event["name"] == END)
        self._process, thread = end["pid"], end["tid"]
        begins = [event["ts"] for event in events if event["name"] == BEGIN and event["pid"] == self._process]
        self._begin, self._end = max(begins, default=0), end["ts"]
        self._events = [event for event in events if event["pid"] == self._process and self._covers(event)]
        self.tasks = [
            Task(event["dur"] / 1e3, event.get("tdur", 0) / 1e3)
            for event in self._events
            if event["name"] == "RunTask" and event["ph"] == "X" and event["tid"] == thread
        ]
        #: Milliseconds of each frame that the main thread made: from the first thing done for it to its last paint.
        self.frames = [(end - begin) / 1e3 for begin, end, _ in self._pairs("AnimationFrame")]
        self._marks = {event["name"]: event["ts"] for event in self._events if "blink.user_timing" in event["cat"]}

    def _covers(self, event: Event) -> bool:
        return bool(self._begin <= event["ts"] and event["ts"] + event.get("dur", 0) <= self._end)

    def _pairs(self, name: str) -> Iterator[tuple[int, int, Event]]:
        """Begin, end and first event of what runs beside the tasks."""
        running: dict[str, Event] = {}
        for event in sorted(self._events, key=lambda event: int(event["ts"])):
            if event["name"] != name or event["ph"] not in "be":
                continue
            key = str(event.get("id2") or event.get("id"))
            if event["ph"] == "b":
                running[key] = event
            elif begun := running.pop(key, None):
                yield begun["ts"], event["ts"], begun

    @property
    def longest_frame(self) -> float:
        """Milliseconds."""
        return max(self.frames, default=0.0)

    def longest_frame_since(self, mark: str) -> float:
        """Milliseconds; of the frames that begin after one of the page's marks. Raises KeyError if it is not there."""
        since = self._marks[mark]
        later = [end - begin for begin, end, _ in self._pairs("AnimationFrame") if begin > since]
        return max(later, default=0) / 1e3

    @property
    def long_tasks(self) -> int:
        """How many tasks Chromium would call long."""
        return sum(task.took > LONG for task in self.tasks)

    @property
    def dropped(self) -> int:
        """Frames that something should have been drawn in, and was not."""
        states = [begun["args"]["frame_reporter"]["state"] for *_, begun in self._pairs("PipelineReporter")]
        return states.count("STATE_DROPPED")

    def busy(self) -> float:
        """The share of the time in which the main thread did anything, by its CPU clock."""
        milliseconds: float = max(1.0, (self._end - self._begin) / 1e3)
        return sum(task.cpu for task in self.tasks) / milliseconds

    def note(self) -> str:
        """What else is worth knowing of it, in words."""
        longest = max((task.took for task in self.tasks), default=0)
        cpu = max((task.cpu for task in self.tasks), default=0)
        return (
            f"{len(self.frames):,} frames, {self.dropped} dropped; "
            f"longest task {longest:.0f} ms, most CPU in one {cpu:.0f} ms"
        )
