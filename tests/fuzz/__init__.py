"""Strangers who mean no good: nonsense, tricks and floods against a running system, and how it and others fare.

The tests here are short; `python -m tests.fuzz --seed 1 --minutes 15` goes on as long as one likes.
"""
