"""Write the features of images: `accelerate launch recipes/embed.py ENCODER DATA -o features.parquet`."""

from gravis_triton.cli import run_job

if __name__ == "__main__":
    run_job("embed")
