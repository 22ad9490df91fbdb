"""A worker process: the lease of a conversation, its reply, how text reaches Redis, and recovery.

Nothing here knows how the model is asked (`tasks.model`) or how a message gets to this process (`tasks.broker`,
`tasks.actors`). It imports `tasks.model`, `tasks.broker`, `tasks.monitoring` and
`tasks.storage`.
"""
