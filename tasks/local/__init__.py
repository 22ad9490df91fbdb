"""What a laptop needs and a server does not: an embedded Redis, model servers, and `make run`.

Servers import nothing of this, but for `processes`, by which images start what the Procfile says. It imports
`tasks.errors`, `tasks.settings`, `tasks.storage` and `tasks.model`.
"""
