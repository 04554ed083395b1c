"""Measure every stage from disk to optimizer: `accelerate launch recipes/benchmark_pipeline.py --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("benchmark")
