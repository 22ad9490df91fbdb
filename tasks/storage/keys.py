"""Every key in Redis, by name: what it holds, how long it lives, who writes it and who reads it.

| key                            | type   | lifetime             | written by             | read by          |
|--------------------------------|--------|----------------------|------------------------|------------------|
| parley:{<tag>}:<id>:document   | JSON   | session TTL, sliding | create, accept, finish | load, take       |
| parley:{<tag>}:<id>:events     | stream | 5 min after an end   | every script           | tail             |
| parley:{<tag>}:<id>:state      | hash   | as the document      | every script           | load, take       |
| parley:{<tag>}:<id>:ids        | hash   | as the document      | accept, edit, retry, … | the same         |
| parley:{<tag>}:<id>:partial    | string | as the document      | publish, continue      | load, finish     |
| parley:{<tag>}:pending         | zset   | while not empty      | accept, take, finish   | recovery         |
| parley:{processes}:alive       | zset   | a member a process   | heartbeat              | heartbeat        |
| parley:{processes}:metrics     | hash   | for ever             | metrics                | metrics          |
| parley:{processes}:sockets:<p> | hash   | a process' life      | web process <p>        | limits, metrics  |
| parley:{processes}:batch:<p>   | string | a day                | metrics                | metrics          |
| parley:limits/…                |        | the limit's window   | limits (library)       | limits           |
| parley:{queue}:…               |        | Dramatiq's own       | Dramatiq               | Dramatiq         |
| parley:{queue}!waiting         | zset   | while not empty      | enqueue, runtime       | limits, metrics  |
| parley:{queue}!tokens          | list   | one a message        | enqueue                | consumer         |
| parley:{queue}!stop:<broker>   | list   | 5 s                  | a worker that stops    | its consumer     |

All keys of a conversation live and die together, but for its stream, which may go earlier. Use prolongs them: opening
the page, every script that changes the conversation, and each renewal of a lease.

The state of a conversation (hash):

| field            | meaning                                                                         |
|------------------|---------------------------------------------------------------------------------|
| count            | messages in the document                                                        |
| pending          | how many human messages at its end wait for their reply                         |
| pending_since    | when `pending` last left zero (ms)                                              |
| owner            | who holds the lease                                                             |
| lease_expires_at | when the lease ends (ms)                                                        |
| crashes          | how often a worker has crashed over the reply in turn                           |
| reply            | id of the reply that has begun                                                  |
| retry            | id that the reply in turn will have, if a retry or a continue asked for it      |
| is_retry         | 1 while an earlier reply to the message in turn is still in the document        |
| grows_from       | bytes of the reply in turn that it had before it was continued                  |
| phase            | writing or waiting, once the reply has begun                                    |
| waiting          | JSON: why it waits and until when                                               |
| failed           | 1 while the last human message carries a failure                                |
| last             | id of the reply that ended last                                                 |

What an id was used for (hash), so that it is never taken for another's:

| field      | value                                                                                 |
|------------|---------------------------------------------------------------------------------------|
| <id>       | message <cursor> <first> <last>: accepted, and between where in the document it stands |
| <id>       | edit <message it replaced> <cursor> <first> <last>                                    |
| <id>       | reply <message>, from when the message is accepted                                    |
| <id>       | retry <message>                                                                       |
| <id>       | continue <message>                                                                    |
| stop:<id>  | 1: the reply to this message is to be stopped when its turn comes                     |

A conversation's id is a hash of its session token, so no key and no log line can open a conversation.
Its keys carry the tag of its shard, so that on a Redis Cluster each script stays within one slot
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
"""

import binascii
import hashlib
from dataclasses import dataclass, field
from itertools import count

#: Hash slots of a Redis Cluster.
SLOTS = 16_384
SHARDS = 64
ALIVE = "parley:{processes}:alive"
METRICS = "parley:{processes}:metrics"
SOCKETS = "parley:{processes}:sockets:"
METRICS_BATCH = "parley:{processes}:batch:"
#: Prefix of Dramatiq's own keys.
QUEUE_NAMESPACE = "parley:{queue}"
QUEUE_TOKENS = "parley:{queue}!tokens"
QUEUE_WAITING = "parley:{queue}!waiting"
QUEUE_STOP = "parley:{queue}!stop:"


def conversation_id(token: str) -> str:
    """The id of the conversation that a session token opens: 128 bits of its SHA-256, in hex."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:32]


def slot_of_tag(tag: str) -> int:
    """The hash slot of all keys with this tag: its CRC16 (XMODEM), as Redis Cluster's specification has it."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


def _spread_tags() -> tuple[str, ...]:
    """One tag for each shard: the smallest number whose slot lies in the shard's part of all slots.

    The slots of the tags are spread evenly, so every node gets the same share of the shards, however many nodes
    there are.
    """
    tags: dict[int, str] = {}
    for number in count():
        tags.setdefault(slot_of_tag(str(number)) * SHARDS // SLOTS, str(number))
        if len(tags) == SHARDS:
            break
    return tuple(tags[shard] for shard in range(SHARDS))


#: The tag in the keys of each shard.
TAGS = _spread_tags()


def key_in(shard: int) -> str:
    """The beginning of a shard's keys, which decides their slot."""
    return f"parley:{{{TAGS[shard]}}}:"


def pending_index_key(shard: int) -> str:
    """The index of a shard's conversations that wait for a reply, by when to look at them again."""
    return f"{key_in(shard)}pending"


def event_channel(shard: int) -> str:
    """The channel on which scripts publish what happens in a shard's conversations, one event a line.

    A line is `<conversation> <cursor of the event before> <cursor> <event>`, or the conversation alone where the event
    is to be read. One script may change conversations of several shards if they are on one server; it publishes all
    events on the channel of one of them.
    """
    return f"{key_in(shard)}events"


@dataclass(frozen=True)
class ConversationKeys:
    """The keys of one conversation."""

    conversation: str
    shard: int = field(init=False)
    document: str = field(init=False)
    events: str = field(init=False)
    state: str = field(init=False)
    ids: str = field(init=False)
    partial: str = field(init=False)
    pending_index: str = field(init=False)

    def __post_init__(self) -> None:
        shard = int(self.conversation[:2], 16) % SHARDS
        object.__setattr__(self, "shard", shard)
        for name in ("document", "events", "state", "ids", "partial"):
            object.__setattr__(self, name, f"{key_in(shard)}{self.conversation}:{name}")
        object.__setattr__(self, "pending_index", pending_index_key(shard))

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which the scripts take them."""
        return (self.document, self.events, self.state, self.ids, self.partial, self.pending_index)
