"""Run the numerical tests as other machines would round: with other instruction sets and numbers of threads.

    python tests/other_machines.py                  # every machine that this one can stand in for
    python tests/other_machines.py avx2 sse
    python tests/other_machines.py sse --tests tests/gravis_kernels

OpenBLAS, PyTorch, oneDNN, MKL and NumPy choose their code by the processor; each gets another one. Ends with a table:
what code PyTorch used, how many tests passed and failed, and the time.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import numpy as np
import torch

HERE = Path(__file__).parent
NUMERICAL = ["gravis_kernels", "gravis_triton/evaluation", "gravis_triton/methods", "gravis_triton/views"]
ROUNDS_NOTHING = [
    "gravis_kernels/test_compilation.py", "gravis_kernels/test_benchmarks.py", "gravis_triton/methods/test_methods.py",
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


def can_stand_in(machine: str) -> bool:
    own = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": True, "AVX2": "avx512" not in machine, "DEFAULT": "sse" in machine}.get(own, False)


def run(machine: str, tests: list[str]) -> tuple[str, bool]:
    """Run the tests; returns the machine's row of the table, and whether all passed."""
    environment = os.environ | MACHINES[machine]
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    used = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    start = time.monotonic()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        without = [f"--ignore={HERE / path}" for path in ROUNDS_NOTHING]
        pytest = [sys.executable, "-m", "pytest", "-n", "auto", f"--junit-xml={report}", *without, *tests]
        done = subprocess.run(pytest, env=environment)
        if done.returncode not in (0, 1):  # tests passed, tests failed
            sys.exit(done.returncode)
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed = sum(bool({"failure", "error"} & {part.tag for part in case}) for case in cases)
    passed = len(cases) - failed - sum(case.find("skipped") is not None for case in cases)
    minutes = (time.monotonic() - start) / 60
    return f"{machine:18}{used.stdout.strip():12}{passed:7}{failed:8}{minutes:9.1f}", failed == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("machines", nargs="*", help=f"of {', '.join(MACHINES)} (default: all that work here)")
    parser.add_argument("--tests", nargs="+", default=[str(HERE / path) for path in NUMERICAL])
    options = parser.parse_args()
    if unknown := set(options.machines) - MACHINES.keys():
        parser.error(f"unknown machine {', '.join(unknown)}; known: {', '.join(MACHINES)}")
    results = [run(machine, options.tests) for machine in options.machines or filter(can_stand_in, MACHINES)]
    print(
        f"{'machine':18}{'PyTorch':12}{'passed':>7}{'failed':>8}{'minutes':>9}",
        *(row for row, _ in results),
        sep="\n",
    )
    sys.exit(not all(passed for _, passed in results))


if __name__ == "__main__":
    main()
