"""The stand-in: a small model server for whoever has no GPT-J, and for tests. Run it with `python -m tasks.standin`."""
