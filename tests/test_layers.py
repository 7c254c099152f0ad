"""Which part of the package imports which: never in a circle, and mathematics needs neither data nor engines."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import medkd

PACKAGE = Path(medkd.__file__).parent


def _part(module: str) -> str:
    """``medkd.losses.kdas`` belongs to ``losses``, ``medkd.files`` is a part by itself."""
    return ([*module.split("."), "medkd"])[1]


def _imports() -> dict[str, set[str]]:
    """For every part the parts that it imports anywhere, inside functions too."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(["medkd", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if modules == ["medkd"] and isinstance(node, ast.ImportFrom):
                modules = [f"medkd.{alias.name}" for alias in node.names]
            parts = {_part(module) for module in modules if module.split(".")[0] == "medkd"}
            found.setdefault(_part(name), set()).update(parts - {_part(name), "medkd", "__version__"})
    return found


def test_no_part_needs_what_needs_it() -> None:
    order = list(graphlib.TopologicalSorter(_imports()).static_order())  # raises CycleError, with the circle
    assert order.index("reading") < order.index("transforms") < order.index("datasets") < order.index("cli")


def test_mathematics_and_readers_stand_alone() -> None:
    imports = _imports()
    assert imports["losses"] == {"outputs", "pooling"}
    assert imports["networks"] == {"outputs"}
    assert imports["metrics"] == {"pooling"}
    assert imports["reading"] == set()
    assert imports["transforms"] == {"files", "reading"}


def test_nothing_but_commands_imports_commands() -> None:
    assert [part for part, needs in _imports().items() if needs & {"cli", "demo", "monailabel"}] == ["cli"]


def test_losses_need_torch_alone() -> None:
    code = "import medkd.losses, sys; print(sorted({'monai', 'ignite', 'mlflow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_waits_for_nothing_heavy() -> None:
    code = "import medkd.cli, sys; print(sorted({'torch', 'monai', 'mlflow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
