"""`python -m gravis_triton JOB`, for `accelerate launch -m gravis_triton JOB`."""

from gravis_triton.cli import main

if __name__ == "__main__":
    main()
