"""Write gravis_triton/__init__.pyi, the signatures of the jobs for editors: `python docs/signatures.py`."""

import inspect
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import gravis_triton as gt
from gravis_triton.cli import JOBS

STUB = Path(__file__).parents[1] / "gravis_triton" / "__init__.pyi"
_PATHS = ("data", "encoder", "grid", "cache_dir", "output", "output_dir", "config", "resume")
_HEADER = '''"""Signatures for editors and type checkers, written by `python docs/signatures.py`."""

from pathlib import Path
from typing import Literal

from gravis_triton.errors import Interrupted as Interrupted
from gravis_triton.errors import UserError as UserError
from gravis_triton.inference.saved_model import load as load
'''


def stub() -> str:
    """The text of __init__.pyi."""
    functions, results = "", defaultdict(set)
    for job in JOBS.values():
        workflow = job.load()
        function = getattr(gt, workflow.__name__)
        result = get_type_hints(workflow)["return"]
        results[result.__module__].add(result.__name__)
        parameters = "".join(f"    {_annotated(p)},\n" for p in inspect.signature(function).parameters.values())
        text = textwrap.indent(f'"""{function.__doc__}\n"""', "    ")
        functions += f"\ndef {function.__name__}(\n    *,\n{parameters}) -> {result.__name__}:\n{text}\n"
    imports = [f"from {module} import {', '.join(sorted(names))}\n" for module, names in sorted(results.items())]
    return _HEADER + "".join(imports) + "\n__version__: str\n" + functions


def _annotated(parameter: inspect.Parameter) -> str:
    hint, default = _type(parameter.annotation), parameter.default
    if parameter.name in _PATHS:
        hint = hint.replace("str", "str | Path", 1)
    if default is parameter.empty:
        return f"{parameter.name}: {hint}"
    return f"{parameter.name}: {hint} = " + ("..." if default is ... else repr(default).replace("'", '"'))


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(hint)))}]".replace("'", '"')
    if hint is type(None):
        return "None"
    if hint == tuple[str, ...]:
        return "tuple[str, ...]"
    return " | ".join(map(_type, get_args(hint))) or hint.__name__


if __name__ == "__main__":
    STUB.write_text(stub())
