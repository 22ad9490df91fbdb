"""Which processes are alive, what is counted, and how background tasks are kept running.

Nothing here answers a message. It imports `tasks.errors`, `tasks.storage` and `tasks.broker`.
"""
