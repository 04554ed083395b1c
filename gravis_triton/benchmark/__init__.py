"""Benchmark of the data path: individual stages, the whole step, and the published transforms for comparison."""

from gravis_triton.benchmark.clock import Clock, Stage
from gravis_triton.benchmark.data_stages import measure_data
from gravis_triton.benchmark.one_core import compare_on_one_core
from gravis_triton.benchmark.stages import measure_stages, measure_training

__all__ = ["Clock", "Stage", "compare_on_one_core", "measure_data", "measure_stages", "measure_training"]
