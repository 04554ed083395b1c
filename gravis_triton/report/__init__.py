"""Console output, metrics, figures and pages of runs."""
