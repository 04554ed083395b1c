"""`import cases` and the benchmarks' modules work in every test of this folder."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "kernels" / "benchmarks")]
