"""Brings what happens in conversations from Redis to the sockets of this process, each event once and in order.

Nothing here reads what a client sends. It imports `api.frames` and `tasks.storage`.
"""
