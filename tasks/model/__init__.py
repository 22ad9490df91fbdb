"""Asking GPT-J: the prompt, the request, reading both protocols' streams, what is shown of them, retries and errors.

Nothing here knows of Redis, conversations, workers or the page. It imports `tasks.settings` and `tasks.errors` only,
besides its own modules. `client.Model` is what others use.
"""
