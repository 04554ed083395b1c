#!/usr/bin/env bash
# Everything that only a GPU can tell, in one call:
#
#     kernels/benchmarks/gpu.sh FOLDER
#
# the tests natively, the losses beside their peers for 320, 16,380 and 131,060 views, their kernels one by one, other
# launches than those of the table, the instruction counts, and a short training with a resnet50. FOLDER gets
# machine.json (GPU, driver, versions), a log of each step and the JSON that it wrote. Needs what the package needs, and
# pytest; it need not be installed. A step that fails or takes more than half an hour does not keep the others from
# running; the exit status says whether one did.
set -u -o pipefail

if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
export PYTHONPATH="$PWD/kernels:$PWD${PYTHONPATH:+:$PYTHONPATH}"
unset TRITON_INTERPRET
python=$(command -v python || command -v python3)
if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
    echo "$0: $python has no PyTorch that finds a GPU" >&2
    exit 2
fi
failed=()

step() { # step NAME COMMAND...: runs it, keeps what it prints in NAME.log
    local name=$1
    shift
    echo "== $name: $*"
    if ! timeout 30m "$@" 2>&1 | tee "$out/$name.log"; then
        echo "== $name failed"
        failed+=("$name")
    fi
}

training=$(mktemp -d)
trap 'rm -rf "$training"' EXIT

step machine "$python" kernels/benchmarks/measure.py "$out/machine.json"
step tests "$python" -m pytest tests/gravis_kernels/test_triton.py -m "not gpu" --durations=10
step tests-gpu "$python" -m pytest tests -m gpu --continue-on-collection-errors -rs
loss=("$python" kernels/benchmarks/loss.py --device cuda --views 20 --dim 128 --budget 5)
for name in hinge rank logsumexp nt-xent supcon; do # logsumexp is the default of gravis_loss
    step "$name-bfloat16" "${loss[@]}" --dtype bfloat16 --sources 16 819 6553 --loss "$name" \
        --out "$out/$name-bfloat16.json"
done
for name in clip siglip; do
    step "$name-bfloat16" "${loss[@]}" --views 2 --dim 512 --dtype bfloat16 --sources 4096 32768 --loss "$name" \
        --out "$out/$name-bfloat16.json"
done
step processes "$python" kernels/benchmarks/processes.py --device cuda --sources 6544
step hinge-float32 "${loss[@]}" --dtype float32 --sources 16 819 --loss hinge --out "$out/hinge-float32.json"
step kernel-times "$python" kernels/benchmarks/kernel_times.py "$out/kernel-times.json"
step launches "$python" kernels/benchmarks/launches.py "$out/launches.json"
step instructions "$python" kernels/benchmarks/instructions.py --once --out "$out/instructions.json"
step training "$python" recipes/pretrain.py --data synthetic --synthetic-images 640 --model resnet50 --image-size 224 \
    --batch-size 16 --views 20 --epochs 3 --mixed-precision bf16 --cache-dir "$training/cache" --output-dir "$training/run"
for file in summary.json metrics.jsonl config.yaml; do # the weights stay behind
    if [ -f "$training/run/$file" ]; then cp "$training/run/$file" "$out/training-$file"; fi
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
echo "all done: $out"
