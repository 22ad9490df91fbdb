"""The two WebSocket contracts: the stream of frames, and the older one of whole replies.

What a frame does is done in `api.messages`. It imports everything of `api` but `api.http` and `api.app`.
"""
