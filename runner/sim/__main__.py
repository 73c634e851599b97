"""`python -m runner.sim`."""

import sys

from runner.sim.main import main

sys.exit(main(sys.argv[1:]))
