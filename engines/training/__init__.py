"""Training: the only place that imports torch. Nothing here runs in the daemon."""

import os

# Threads of OpenMP that wait for each other spin, unless told before the library is loaded: on two cores that something
# else uses too, a step of a network took 14 to 22 s instead of 3.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
