"""Saved fine-tuned models, tables of features and predictions, and exported networks."""

from gravis_triton.inference.image_table import TableFile, join_processes, write_table
from gravis_triton.inference.saved_model import load, save_predictor
