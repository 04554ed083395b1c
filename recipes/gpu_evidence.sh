#!/usr/bin/env bash
# What needs a GPU, in calls of less than ten minutes:
#
#     recipes/gpu_evidence.sh OUT [--data DIR]
#
# The first call runs the tests that need a GPU and the microbenchmarks of the kernels; each further one does the next
# runs of the comparison compare-isic2017-small (recipes/gpu_evidence.py). Repeat it until it prints "all done".
set -eu -o pipefail
out=$1
shift
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"
if [ ! -f "$out/kernels/done" ]; then
    timeout 540 kernels/benchmarks/gpu.sh "$out/kernels" || echo "kernels/benchmarks/gpu.sh ended with status $?"
    touch "$out/kernels/done"
else
    "${PYTHON:-python}" recipes/gpu_evidence.py "$out/comparison" "$@"
fi
