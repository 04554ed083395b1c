"""Predict with a fine-tuned model: `python recipes/predict.py RUN IMAGES...`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("predict")
