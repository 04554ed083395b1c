"""Fine-tune for lesion segmentation: `accelerate launch recipes/finetune_segmentation.py --help`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("finetune-segmentation")
