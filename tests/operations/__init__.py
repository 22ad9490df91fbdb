"""Parley as its operator sees it: figures, readiness, logs, headers, limits, kinds of Redis, numbers of processes."""
