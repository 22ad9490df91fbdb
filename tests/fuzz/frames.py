"""Frames and sequences of frames, well-formed and not, for both kinds of sockets."""

import json
import uuid
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.values import sayable, values

#: A few ids, so that frames of one sequence mean each other.
ids = st.integers(0, 4).map(lambda number: str(uuid.UUID(int=number + 1)))

sends = st.builds(lambda id, text: {"type": "message.send", "id": id, "text": text}, ids, sayable)
stops = st.builds(lambda to: {"type": "reply.stop", "to": to}, ids)
retries = st.builds(
    lambda to, id: {"type": "reply.retry", "to": to, "id": str(uuid.UUID(int=id))}, ids, st.integers(9, 12)
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | values
trees: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(values, inner, max_size=4), max_leaves=12
)
types = st.sampled_from(["message.send", "reply.stop", "reply.retry", "snapshot", "canary", "__proto__"]) | scalars
mistaken = st.fixed_dictionaries({"type": types}, optional={"id": trees | ids, "to": trees, "text": trees})
unknown_fields = st.builds(lambda frame, more: {**more, **frame}, sends, st.dictionaries(values, trees, max_size=3))

#: JSON that Python would not write: broken, twice the same name, escapes without a character, deep, or of huge numbers.
BROKEN = [
    "",
    "{",
    "[" * 5000,
    '{"a":' * 2000,
    '{"type":"message.send","type":"reply.stop"}',
    '{"type":"message.send","id":"00000000-0000-0000-0000-000000000001","text":"\\ud800"}',
    '{"type":"message.send","id":"\\udfff","text":"x"}',
    '{"type":1e999}',
    f'{{"type":{"9" * 5000}}}',
    "NaN",
    "\ufeff{}",
    "'{}'",
]

#: Bytes of a frame, in the Procfile; a longer one closes its socket, which has tests of its own.
LONGEST = 65_536

#: What goes over the wire as it is: text, or bytes for a binary frame.
wire = (
    st.one_of(sends, stops, retries, mistaken, unknown_fields, trees).map(json.dumps)
    | st.sampled_from(BROKEN)
    | values
    | st.binary(max_size=200)
).filter(lambda frame: len(frame if isinstance(frame, bytes) else frame.encode()) <= LONGEST)
sequences = st.lists(wire, max_size=12)
typed = st.lists(sayable | values | st.binary(max_size=50), min_size=1, max_size=6)
