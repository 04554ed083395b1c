"""Evaluate a frozen encoder: `python recipes/evaluate.py --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("evaluate")
