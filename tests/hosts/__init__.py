"""Parley on five hosts: network namespaces on a switch of our own, which cuts them off and slows them down."""
