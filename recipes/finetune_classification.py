"""Fine-tune for disease classification: `accelerate launch recipes/finetune_classification.py --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("finetune-classification")
