"""`python -m runner.sim`."""

import sys

from runner.sim.main import run

sys.exit(run(sys.argv[1:]))
