"""How far Parley goes: a small simulation, with parameters that `make bench` measures, and what follows for many."""
