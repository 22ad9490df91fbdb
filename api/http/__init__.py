"""The HTTP calls: routes, the shapes of their answers, headers and metrics.

What a call does is done in `api.sessions` and `tasks.storage`; sockets are handed to `api.ws`.
"""
