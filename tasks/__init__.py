"""What happens to a message once it is accepted, and what both sides of the queue share.

Nothing here knows of sockets or HTTP calls: that is `api`. It imports nothing of `api`, `tests` or `frontend`. The
packages import one another in one direction only, which CONTRIBUTING lists.
"""
