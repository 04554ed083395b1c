"""Supervised tasks, a file each: network, loss, predictor, validation and test."""
