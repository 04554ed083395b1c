"""Run the numerical tests as other machines would round: with other instruction sets and numbers of threads.

    python tests/other_machines.py          # every machine that this one can stand in for
    python tests/other_machines.py avx2 sse

OpenBLAS, PyTorch, oneDNN, MKL and NumPy choose their code by the processor; each is told another one. Prints which code
NumPy's BLAS and PyTorch used, how many tests passed and failed, and which failed.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import numpy as np
import torch

HERE = Path(__file__).parent
NUMERICAL = [
    "gravis_kernels", "gravis_triton/evaluation", "gravis_triton/methods", "gravis_triton/views",
]  # fmt: skip
BEYOND_AVX2 = ("AVX512", "X86_V4")  # NumPy's names
SIMD = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
INSTRUCTIONS = {
    "avx512": {
        "OPENBLAS_CORETYPE": "SkylakeX", "ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
    },
    "avx2": {
        "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2", "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in SIMD if f.startswith(BEYOND_AVX2)),
    },
    "sse": {
        "OPENBLAS_CORETYPE": "Nehalem", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE", "NPY_DISABLE_CPU_FEATURES": " ".join(SIMD),
    },
}  # fmt: skip
MACHINES = {
    name + suffix: {**variables, "OMP_NUM_THREADS": threads}
    for name, variables in INSTRUCTIONS.items()
    for suffix, threads in (("", "1"), ("-2-threads", "2"))
}
USED = """
import numpy, torch, threadpoolctl
blas = threadpoolctl.ThreadpoolController().select(user_api="blas").info()
print(*(x.get("architecture", x["internal_api"]) for x in blas), torch.backends.cpu.get_cpu_capability(), sep=", ")
"""


def can_stand_in(machine: str) -> bool:
    own = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": True, "AVX2": "avx512" not in machine, "DEFAULT": "sse" in machine}.get(own, False)


def run(machine: str) -> list[str]:
    """Print the machine's row of the table; return the tests that failed."""
    environment = os.environ | MACHINES[machine]
    used = subprocess.run([sys.executable, "-c", USED], env=environment, capture_output=True, text=True)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        pytest = [sys.executable, "-m", "pytest", "-n", "auto", f"--junit-xml={report}"]
        without = f"--ignore={HERE / 'gravis_kernels' / 'test_compilation.py'}"  # rounds nothing
        paths = [str(HERE / path) for path in NUMERICAL]
        done = subprocess.run([*pytest, without, *paths], env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # tests passed, tests failed
            sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if {"failure", "error"} & {part.tag for part in case}]
    passed = len(cases) - len(failed) - sum(case.find("skipped") is not None for case in cases)
    print(f"{machine:18}{used.stdout.strip():28}{passed:7}{len(failed):8}", flush=True)
    return [f"{case.get('classname')}::{case.get('name')}" for case in failed]


def main() -> None:
    machines = sys.argv[1:] or [machine for machine in MACHINES if can_stand_in(machine)]
    print(f"{'machine':18}{'BLAS of NumPy, PyTorch':28}{'passed':>7}{'failed':>8}", flush=True)
    failed = {machine: run(machine) for machine in machines}
    for machine, tests in failed.items():
        for test in tests:
            print(f"{machine}: {test}")
    sys.exit(any(failed.values()))


if __name__ == "__main__":
    main()
