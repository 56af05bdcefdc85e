"""What tests share stands in support/, once: a test module is nobody's library, and an edge has one fake."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent.parent
SHARED = ("support", "brokers", "registry", "simulation", "soak", "golden", "fuzz", "containers", "benchmarks")
"""Where modules stand that others may import, if they hold no tests."""
ONCE = {"World", "Consumer", "Message"}
"""What these stand for is told by a longer name, wherever it is not what everybody means."""


@cache
def modules() -> dict[str, ast.Module]:
    """By their path from tests/ on."""
    return {
        path.relative_to(TESTS).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")
    }


def imported(module: ast.Module) -> set[str]:
    """The names of all modules that it imports, wherever in it."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def classes() -> dict[str, list[str]]:
    """By name, the modules that define such a class."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, module in modules().items():
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return found


def test_no_module_imports_a_test_module() -> None:
    ours = {path.partition("/")[0] for path in modules()}
    wrong = [
        f"{path} imports {name}"
        for path, module in modules().items()
        for name in sorted(imported(module))
        for room, *rest in [name.split(".")]
        if room in ours and (room not in SHARED or any(part.startswith("test_") for part in rest))
    ]
    assert wrong == []


def test_one_world_one_consumer_and_one_message_bear_the_bare_name() -> None:
    assert Counter({name: len(paths) for name, paths in classes().items() if name in ONCE}) == Counter(ONCE)


def test_no_test_defines_anew_what_support_has() -> None:
    # The simulation is apart: its edges live in virtual time.
    again = {
        name: paths
        for name, paths in classes().items()
        if any(path.startswith("support/") for path in paths)
        and len([path for path in paths if not path.startswith("simulation/")]) > 1
    }
    assert again == {}
