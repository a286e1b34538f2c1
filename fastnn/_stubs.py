"""Writes the type stubs of names that are imported on first use, or made from the native lists (at build).

``python -m fastnn._stubs FOLDER`` writes ``__init__.pyi`` beside every ``__init__.py`` that attaches names, and stubs
of the modules whose functions and classes are made by factories. What stands in the source is copied from it by its
signatures; what is made is described by the objects themselves. Nothing of it is committed.
"""

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

#: modules that hold names made from lists, with the base class of the classes among them
MADE = {"fastnn.functional": "", "fastnn.nn.activations": "Module", "fastnn.nn.losses": "PointwiseLoss"}
_HEAD = '"""Made by fastnn._stubs at build."""\n\nfrom typing import Any\n\n'


def attached(source: str) -> dict[str, Any] | None:
    """{"_NAMES": ..., "_MODULES": ...} of an ``__init__.py`` that attaches names, else None."""
    found: dict[str, Any] = {"_MODULES": ()}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id in ("_NAMES", "_MODULES"):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found if "_NAMES" in found else None


def package_stub(name: str, attachments: dict[str, Any]) -> str:
    """The stub of a package: what it attaches, and what its modules make."""
    lines = []
    classes = {}
    for module in (m for m in MADE if MADE[m] and m.rpartition(".")[0] == name):
        made = importlib.import_module(module).CLASSES
        classes.update(dict.fromkeys(made, module.rpartition(".")[2]))
    for public, module in sorted({**classes, **attachments["_NAMES"]}.items()):
        lines.append(f"from .{module} import {public} as {public}")  # "..x" goes one package up, as in attach
    lines += [f"from . import {module} as {module}" for module in attachments["_MODULES"]]
    if name == "fastnn":
        lines.append("\n__version__: str")
    if name == "fastnn.nn":
        lines.append("from ..graph.parameter import Parameter as Parameter")
    return _HEAD + "\n".join(lines) + "\n"


def _made_names(module_name: str) -> list[str]:
    """Public names of a module that are no definitions in its source."""
    module = importlib.import_module(module_name)
    tree = ast.parse(inspect.getsource(module))
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names = getattr(module, "CLASSES", None) or module.__all__
    return sorted(n for n in names if n not in defined and hasattr(module, n))


def module_stub(module_name: str) -> str:
    """The stub of a module: its own definitions without their bodies, and what its factories made."""
    module = importlib.import_module(module_name)
    kept: list[ast.stmt] = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                alias.asname = alias.name if alias.asname is None else alias.asname
            kept.append(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            kept += node.body
        elif isinstance(node, ast.Import):
            kept.append(node)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("__"):
            kept.append(_signature_only(node))
    text = ast.unparse(ast.fix_missing_locations(ast.Module(kept, [])))
    names = _made_names(module_name)
    parts = [_class_text(module, name, MADE[module_name]) if MADE[module_name] else _function_text(module, name)
             for name in names]  # fmt: skip
    return _HEAD + text + "\n\n" + "\n".join(parts) + "\n"


def _signature_only(node: Any) -> Any:
    if isinstance(node, ast.ClassDef):
        body = [_signature_only(item) for item in node.body if isinstance(item, ast.FunctionDef)]
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        for field in fields:
            field.value = None
        plain = [ast.AnnAssign(item.targets[0], ast.Name("Any"), None, 1) for item in node.body
                 if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)]  # fmt: skip
        node.body = [*fields, *plain, *body] or [ast.Expr(ast.Constant(...))]
        return node
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for argument in every:
        if argument is not None and argument.annotation is None and argument.arg not in ("self", "cls"):
            argument.annotation = ast.Name("Any")
    node.returns = node.returns or ast.Name("None" if node.name == "__init__" else "Any")
    node.body = [ast.Expr(ast.Constant(...))]
    node.decorator_list = [d for d in node.decorator_list if isinstance(d, ast.Name)]
    return node


def _function_text(module: ModuleType, name: str) -> str:
    return f"def {name}{_parameters(getattr(module, name))} -> Any: ..."


def _class_text(module: ModuleType, name: str, base: str) -> str:
    cls = getattr(module, name)
    row = getattr(cls, "_row", None)
    if row is None:
        parameters = _parameters(cls.__init__)
    else:  # a loss of losses.def: its options, then the reduction
        options = "".join(f", {n}: Any = {d!r}" for n, d in zip(row.names, row.defaults, strict=True))
        parameters = f'(self{options}, *, reduction: str = "mean")'
    return f"class {name}({base}):\n    def __init__{parameters} -> None: ..."


def _parameters(function: Any) -> str:
    """The parameters of a made function; defaults that are no plain values become ``...``."""
    parts, star = [], False
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            parts.append(f"*{p.name}: Any")
            star = True
        elif p.kind is p.VAR_KEYWORD:
            parts.append(f"**{p.name}: Any")
        else:
            if p.kind is p.KEYWORD_ONLY and not star:
                parts.append("*")
                star = True
            plain = isinstance(p.default, (int, float, str, bool, type(None)))
            default = "" if p.default is p.empty else f" = {p.default!r}" if plain else " = ..."
            parts.append(p.name if p.name == "self" else f"{p.name}: {_type_of(p)}{default}")
    return f"({', '.join(parts)})"


def _type_of(parameter: inspect.Parameter) -> str:
    kind = type(parameter.default)
    return kind.__name__ if kind in (float, str, bool) else "Any"


def write(folder: Path) -> list[Path]:
    """Write all stubs of the package that lies in `folder`; returns what was written."""
    written = []
    for path in sorted(folder.rglob("__init__.py")):
        attachments = attached(path.read_text())
        if attachments is not None:
            parts = path.parent.relative_to(folder.parent).parts
            written.append(path.with_suffix(".pyi"))
            written[-1].write_text(package_stub(".".join(parts), attachments))
    for module_name in MADE:
        written.append(folder.parent / Path(*module_name.split(".")).with_suffix(".pyi"))
        written[-1].write_text(module_stub(module_name))
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]))
