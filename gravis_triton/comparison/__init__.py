"""Comparison of encoders: a grid of runs, their scores, and confidence intervals of differences."""
