#!/usr/bin/env bash
# Everything about the kernels that only a GPU can tell, in one call:
#
#     kernels/benchmarks/gpu.sh FOLDER
#
# Needs torch, triton and pytest; the packages need not be installed. FOLDER gets machine.txt (GPU, driver, versions),
# the tests' log, and a JSON and a log for each benchmark. A step that fails does not keep the others from running;
# the exit status says whether one did.
set -u -o pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}"
unset TRITON_INTERPRET
failed=0

step() { # step NAME COMMAND...: runs it, keeps what it prints in NAME.log
    local name=$1
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$out/$name.log" || {
        echo "== $name failed"
        failed=1
    }
}

step machine python -c '
import platform, subprocess, torch, triton
print("gpu", torch.cuda.get_device_name())
print("capability", torch.cuda.get_device_capability())
print("python", platform.python_version(), "torch", torch.__version__, "triton", triton.__version__)
try:
    print(subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout)
except FileNotFoundError:
    print("no nvidia-smi")
'
mv "$out/machine.log" "$out/machine.txt"
step tests python -m pytest tests/gravis_kernels/test_triton.py --durations=10
step tests-gpu python -m pytest tests/gravis_kernels -m gpu --continue-on-collection-errors
loss="python kernels/benchmarks/loss.py --device cuda --views 20 --dim 128 --budget 5"
# 320, 16,380 and 131,060 views
step hinge-bfloat16 $loss --dtype bfloat16 --sources 16 819 6553 --loss hinge --out "$out/hinge-bfloat16.json"
step hinge-float32 $loss --dtype float32 --sources 16 819 --loss hinge --out "$out/hinge-float32.json"
step others-bfloat16 $loss --dtype bfloat16 --sources 16 819 --loss rank logsumexp nt-xent --out "$out/others-bfloat16.json"
step instructions python kernels/benchmarks/instructions.py --once --out "$out/instructions.json"
exit $failed
