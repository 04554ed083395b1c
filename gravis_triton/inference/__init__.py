"""Saved fine-tuned models, tables of features and predictions, and exported networks."""
