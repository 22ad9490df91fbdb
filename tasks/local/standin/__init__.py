"""The stand-in: a small model server for people without GPT-J, and for tests.

Start it with `python -m tasks.local.standin`.
"""
