"""Evaluation of frozen encoders, and scores of predictions."""

JACCARD_THRESHOLD = 0.65
"""ISIC 2018 scores a mask below it as 0; about the agreement between its experts' masks."""
