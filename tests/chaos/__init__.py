"""A storm of faults over real processes and a crowd of clients, and the proof that nobody lost or repeated a word."""
