"""Fused losses for grouping augmented views."""
