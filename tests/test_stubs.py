"""The `.pyi` stubs say what the compiled modules have."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "clstm" / "_kernels"
MODULES = sorted(p.stem for p in FOLDER.glob("*.pyx"))


def compiled(module: str) -> dict[str, list[str]]:
    """Public functions of a .pyx and the names of their arguments."""
    source = (FOLDER / f"{module}.pyx").read_text(encoding="utf-8")
    functions = {}
    for name, arguments in re.findall(
        r"^(?:cp)?def ([a-z]\w*)\((.*?)\)(?: ->[^:]*)?:", source, re.M | re.S
    ):
        without_types = re.sub(r"\[[^\]]*\]", "", arguments)
        words = (re.sub(r"[=:].*", "", a, flags=re.S).split() for a in without_types.split(","))
        functions[name] = [w[-1].lstrip("*") for w in words if w]
    return functions


def stub(module: str) -> dict[str, list[str]]:
    """The same of a .pyi; a name that is given a Protocol has the arguments of its __call__."""
    tree = ast.parse((FOLDER / f"{module}.pyi").read_text(encoding="utf-8"))

    def names(function):
        a = function.args
        return [x.arg for x in [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs]]

    calls = {
        c.name: names(f)[1:]
        for c in tree.body if isinstance(c, ast.ClassDef)
        for f in c.body if isinstance(f, ast.FunctionDef) and f.name == "__call__"
    }  # fmt: skip
    functions = {f.name: names(f) for f in tree.body if isinstance(f, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.annotation, "id", None) in calls:
            functions[node.target.id] = calls[node.annotation.id]
    return functions


@pytest.mark.parametrize("module", MODULES)
def test_a_stub_has_the_functions_and_arguments_of_its_module(module):
    assert (FOLDER / f"{module}.pyi").exists(), f"{module}.pyx needs a stub beside it"
    assert stub(module) == compiled(module)
