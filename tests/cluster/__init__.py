"""Parley on a Redis Cluster and under Sentinel, with nodes that die, move and lag."""
