"""A message to nobody that goes the whole way except the model's: queue, worker, publisher, stream, tail.

Each web process sees by its own tail whether the way is open. It sends a canary when it has heard none for a while, so
of many web processes only a few send.
"""

from tasks.broker import WaitingBroker
from tasks.storage.client import RedisClient
from tasks.storage.conversations import BEGINNING
from tasks.storage.events import encode
from tasks.storage.keys import ConversationKeys, conversation_id

CANARY = conversation_id("canary")
#: Who may write the canary's stream; there is no lease to take.
OWNER = "canary"
EVENT = encode({"type": "canary"})
#: Canaries that the stream keeps; no reply begins there that would trim it.
MAX_ENTRIES = 100


async def prepare(redis: RedisClient) -> str:
    """Let canaries be written; returns the cursor after which the new ones come. Raises StorageError."""
    keys = ConversationKeys(CANARY)
    _, last = await redis.pipeline(
        ("HSET", keys.state, "owner", OWNER), ("XREVRANGE", keys.events, "+", "-", "COUNT", 1)
    )
    return last[0][0].decode() if last else BEGINNING


async def send(redis: RedisClient, broker: WaitingBroker) -> None:
    """Send a canary. Raises StorageError."""
    await redis.command("XTRIM", ConversationKeys(CANARY).events, "MAXLEN", "~", MAX_ENTRIES)
    await broker.request_reply(CANARY)
