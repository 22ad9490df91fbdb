"""The loads that the bench measures for the simulation: some to find the costs, and others to check them."""

from tests.scaling.simulation import Load

#: Places that nobody has to wait for.
ENOUGH = 512

#: What the costs are found from: many tokens, few tokens, short replies, slow ones.
FITTED = {
    "20 people": Load(people=20, tokens=100, rate=20, places=ENOUGH),
    "120 people": Load(people=120, tokens=100, rate=20, places=ENOUGH),
    "60 people, short replies": Load(people=60, tokens=10, rate=20, places=ENOUGH, messages=20),
    "80 people, slow replies": Load(people=80, tokens=40, rate=5, places=ENOUGH),
}
#: Loads beside which web processes run that nobody talks to.
BESIDE = ("20 people", "120 people")
#: What they are checked on. In all but the first, messages wait for a place.
CHECKED = {
    "70 people": Load(people=70, tokens=100, rate=20, places=ENOUGH),
    "90 people, 40 places": Load(people=90, tokens=60, rate=20, places=40, messages=4),
    "60 people, 24 places, slow replies": Load(people=60, tokens=50, rate=10, places=24),
    "100 people, 30 places, short replies": Load(people=100, tokens=20, rate=20, places=30, messages=8),
    "120 people, 64 places, who think": Load(people=120, tokens=80, rate=20, places=64, messages=4, thinking=3.0),
}
