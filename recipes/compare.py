"""Compare encoders: `python recipes/compare.py GRID.yaml --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("compare")
