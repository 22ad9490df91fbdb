"""Everything that knows a Redis key: keys, scripts, events, the client, and conversations as documents.

Nothing here knows who calls: no worker, no socket, no model. It imports `tasks.errors` only, besides its own modules.
"""
