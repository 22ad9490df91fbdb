"""Parley against a server that nobody here wrote: `transformers serve` with a tiny GPT-J of random weights."""
