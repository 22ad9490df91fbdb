"""A message to nobody that goes the whole way but the model's: queue, worker, writer, stream, tail.

Web processes take turns in sending it; each sees by its own tail whether the way is open.
"""

from tasks.broker import enqueue_commands
from tasks.storage.client import RedisClient
from tasks.storage.conversations import BEGINNING
from tasks.storage.events import encode
from tasks.storage.keys import CANARY_LOCK, ConversationKeys, conversation_id

CANARY = conversation_id("canary")
#: Who may write the canary's stream; there is no lease to take.
OWNER = "canary"
#: Seconds between two canaries, however many processes send them.
EVERY = 5
EVENT = encode({"type": "canary"})
#: Canaries that are kept; no reply begins there that would trim the stream.
KEPT = 100


async def prepare(redis: RedisClient) -> str:
    """Let canaries be written; returns the cursor after which the new ones come. Raises StorageError."""
    keys = ConversationKeys(CANARY)
    _, last = await redis.together(
        ("HSET", keys.state, "owner", OWNER), ("XREVRANGE", keys.events, "+", "-", "COUNT", 1)
    )
    return last[0][0].decode() if last else BEGINNING


async def send(redis: RedisClient) -> None:
    """Send a canary, unless one was sent just now; every tail follows its stream anyway. Raises StorageError."""
    if await redis.command("SET", CANARY_LOCK, 1, "NX", "PX", EVERY * 1000 - 100):
        trim = ("XTRIM", ConversationKeys(CANARY).events, "MAXLEN", "~", KEPT)
        await redis.together(*enqueue_commands(CANARY), trim, atomic=False)
