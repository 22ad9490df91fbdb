"""`make bench`: what Parley costs beside a relay that stores nothing, and how its costs grow."""
