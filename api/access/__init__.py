"""Who calls, from where, and how much one visitor may do.

Nothing here knows what a call or a frame does. It imports `api.frames` for its refusals, and `tasks.storage` to count
over all processes.
"""
