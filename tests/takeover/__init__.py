"""Processes are killed, paused and told to go while people talk; what must hold then, one file a kind of trouble."""
