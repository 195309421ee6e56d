"""Benchmarks of `cnn` alone in the form that asv (airspeed velocity) runs over the history of a project.

Nothing here needs asv: run_suite.py runs them too.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the networks of all benchmarks
