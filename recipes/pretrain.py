"""Pre-train an image encoder: `accelerate launch recipes/pretrain.py --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("pretrain")
