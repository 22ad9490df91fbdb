"""The way in and the way out: HTTP calls and WebSockets on one side, the conversation in Redis on the other.

Nothing here asks the model or writes a reply: that is `tasks`, which `api` may import, never the other way round.
"""
