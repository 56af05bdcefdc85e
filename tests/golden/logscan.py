"""Finds every log call of a source tree without running it: the event, the levels, and the names of the fields.

A log call is a call of one of the levels' methods on something called `log` or `_log`, or of a variable that such a
method was assigned to (`level = log.info if ... else log.warning`). What cannot be told is reported, not left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
LOGGERS = ("log", "_log", "logger", "_logger")
UNKNOWN = "?"
"""Stands in an event, or among the fields, for what the scan cannot tell."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Scope: TypeAlias = tuple[ast.AST, ...]


class Line(NamedTuple):
    """A line that may be logged. `where` is for people who look for it: file and line."""

    event: str
    level: str
    fields: tuple[str, ...]
    where: str


class Scan:
    """A scan of all files below a folder. `lines` are what is logged, `oddities` what looks like it and is not told."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[Line] = []
        self.oddities: list[str] = []
        self._modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}
        self._calls = [node for tree in self._modules.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for path, tree in self._modules.items():
            where = str(path.relative_to(folder.parent))
            for scope, node in _walk(tree, (tree,)):
                self._look(where, scope, node)

    def _look(self, where: str, scope: Scope, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and (levels := self._levels(scope, node)):
            bound = self._bound(scope, node.func)
            events = self._texts(scope, node.args[0]) if node.args else {UNKNOWN}
            fields = bound | {field for keyword in node.keywords for field in self._fields(scope, keyword)}
            for event in events:
                for level in levels:
                    self.lines.append(Line(event, level, tuple(sorted(fields)), f"{where}:{node.lineno}"))
        elif isinstance(node, ast.Call) and _is_method(node.func) and node.args and not _is_logger(node.func.value):
            self.oddities.append(f"{ast.unparse(node)[:80]}: a level's name, of something that is not called a log")
        elif _is_method(node) and _is_logger(node.value) and not self._is_accounted_for(scope, node):
            self.oddities.append(f"{ast.unparse(node)}: a log method that is handed on")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            self._look_at_a_new_log(node.targets[0] if isinstance(node, ast.Assign) else node.target, node.value)
        elif isinstance(node, ast.Call) and _called(node) == "bind_contextvars":
            self.oddities.append(f"{ast.unparse(node)}: fields of lines that nobody sees here")
        if isinstance(node, ast.Call):
            handed = [*node.args, *(keyword.value for keyword in node.keywords)]
            self.oddities += [
                f"{ast.unparse(node)[:80]}: a log is handed on that has fields bound to it"
                for given in handed
                if isinstance(given, ast.Attribute)
                and _is_logger(given)
                and self._bound(scope, ast.Attribute(given, "info"))
            ]

    def _look_at_a_new_log(self, target: ast.expr, value: ast.expr) -> None:
        makers = [_called(node) for node in ast.walk(value) if isinstance(node, ast.Call)]
        if "get_logger" in makers and not _is_logger(target):
            self.oddities.append(f"{ast.unparse(target)} = {ast.unparse(value)}: a log that is called otherwise")
        if "bind" in makers and isinstance(target, ast.Name):
            self.oddities.append(f"{ast.unparse(target)} = {ast.unparse(value)}: fields are bound to a variable")

    def _levels(self, scope: Scope, call: ast.Call) -> list[str]:
        """The levels that a call logs at; none if it is no log call."""
        if _is_method(call.func):
            return [call.func.attr] if _is_logger(call.func.value) else []
        if not isinstance(call.func, ast.Name):
            return []
        nodes = [node for value in self._assigned(scope, call.func.id) for node in ast.walk(value)]
        return sorted({node.attr for node in nodes if _is_method(node) and _is_logger(node.value)})

    def _is_accounted_for(self, scope: Scope, method: ast.Attribute) -> bool:
        """Whether it is called where it stands, or assigned to a name whose calls are looked at."""
        for node in ast.walk(scope[-1]):
            if isinstance(node, ast.Call) and node.func is method:
                return True
            is_variable = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if is_variable and method in ast.walk(node.value):
                return True
        return False

    # --- events

    def _texts(self, scope: Scope, of: ast.expr) -> set[str]:
        """The texts that an expression may be."""
        match of:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.IfExp():
                return self._texts(scope, of.body) | self._texts(scope, of.orelse)
            case ast.JoinedStr():
                return {"".join(str(v.value) if isinstance(v, ast.Constant) else UNKNOWN for v in of.values)}
            case ast.Dict():
                return set().union(*(self._texts(scope, value) for value in of.values))
            case ast.Subscript():
                return self._texts(scope, of.value)
            case ast.Name():
                return self._texts_of_name(scope, of.id)
            case ast.Attribute():
                return self._texts_of_all(self._assigned_anywhere(of.attr))
            case _:
                return {UNKNOWN}

    def _texts_of_name(self, scope: Scope, name: str) -> set[str]:
        if values := self._assigned(scope, name):
            return set().union(*(self._texts(scope, value) for value in values))
        if (function := _function(scope)) is not None and name in (names := _parameters(function)):
            # Whatever the callers give, as far as it is a text or a constant of any module.
            return self._texts_of_all(list(self._given(function, names.index(name), name)))
        return self._texts_of_all(self._assigned_anywhere(name))

    def _texts_of_all(self, values: list[ast.expr]) -> set[str]:
        return set().union(*(self._texts((), value) for value in values)) if values else {UNKNOWN}

    def _given(self, function: Function, position: int, name: str) -> Iterator[ast.expr]:
        for call in self._calls:
            if _called(call) != function.name:
                continue
            yield from (keyword.value for keyword in call.keywords if keyword.arg == name)
            yield from call.args[position : position + 1]

    # --- fields

    def _fields(self, scope: Scope, keyword: ast.keyword) -> set[str]:
        return {keyword.arg} if keyword.arg is not None else self._keys(scope, keyword.value)

    def _keys(self, scope: Scope, of: ast.expr) -> set[str]:
        """The keys of a dictionary that is handed over with two stars."""
        match of:
            case ast.Dict():
                return {
                    key.value if isinstance(key, ast.Constant) else UNKNOWN for key in of.keys if key is not None
                } | set().union(*(self._keys(scope, v) for k, v in zip(of.keys, of.values, strict=True) if k is None))
            case ast.BinOp(op=ast.BitOr()):
                return self._keys(scope, of.left) | self._keys(scope, of.right)
            case ast.Call(func=ast.Name(id="dict")):
                return {field for keyword in of.keywords for field in self._fields(scope, keyword)}
            case ast.Call(func=ast.Attribute(attr="_asdict", value=value)):
                return self._keys_of_tuple(scope, value)
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                return self._keys_of_returned(name)
            case ast.Name(id=name) if values := self._assigned(scope, name):
                return set().union(*(self._keys(scope, value) for value in values)) | self._set_later(scope, name)
            case _:
                return {f"**{UNKNOWN} {ast.unparse(of)}"}

    def _keys_of_returned(self, name: str) -> set[str]:
        found: set[str] = set()
        for tree in self._modules.values():
            for scope, node in _walk(tree, (tree,)):
                if isinstance(node, ast.Return) and node.value is not None and (at := _function(scope)) is not None:
                    found |= self._keys(scope, node.value) if at.name == name else set()
        return found or {f"**{UNKNOWN} {name}()"}

    def _keys_of_tuple(self, scope: Scope, value: ast.expr) -> set[str]:
        """The fields of a named tuple, by the annotation of the parameter that holds it."""
        function = _function(scope)
        if function is not None and isinstance(value, ast.Name):
            for parameter in function.args.posonlyargs + function.args.args + function.args.kwonlyargs:
                if parameter.arg == value.id and isinstance(parameter.annotation, ast.Name):
                    return self._fields_of_class(parameter.annotation.id)
        return {f"**{UNKNOWN} {ast.unparse(value)}"}

    def _fields_of_class(self, name: str) -> set[str]:
        for tree in self._modules.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name == name:
                    fields = [line.target for line in node.body if isinstance(line, ast.AnnAssign)]
                    return {field.id for field in fields if isinstance(field, ast.Name)}
        return {f"**{UNKNOWN} {name}"}

    def _set_later(self, scope: Scope, name: str) -> set[str]:
        """Keys that are added to a dictionary of this name: `name["key"] = ...`."""
        found = set()
        for node in ast.walk(_function(scope) or scope[0]):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                target = node.targets[0]
                if isinstance(target.value, ast.Name) and target.value.id == name:
                    found |= {key if key else UNKNOWN for key in self._texts(scope, target.slice)}
        return found

    def _bound(self, scope: Scope, method: ast.expr) -> set[str]:
        """What was bound to the logger, where it is an attribute of the object: `self._log = log.bind(...)`."""
        if not (isinstance(method, ast.Attribute) and isinstance(method.value, ast.Attribute)):
            return set()
        owner = next((node for node in reversed(scope) if isinstance(node, ast.ClassDef)), None)
        found = set()
        for node in ast.walk(owner) if owner is not None else ():
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
                continue
            if node.targets[0].attr == method.value.attr and isinstance(node.value, ast.Call):
                found |= {field for keyword in node.value.keywords for field in self._fields(scope, keyword)}
        return found

    # --- names

    def _assigned(self, scope: Scope, name: str) -> list[ast.expr]:
        """What is assigned to a name in the function around, or else at the top of the module."""
        function = _function(scope)
        inside = _assigned(ast.walk(function), name) if function is not None else []
        if inside or (function is not None and name in _parameters(function)) or not scope:
            return inside
        return _assigned(iter(getattr(scope[0], "body", ())), name)

    def _assigned_anywhere(self, name: str) -> list[ast.expr]:
        """What is assigned to a name at the top of any module: a constant that is imported. Or in any class."""
        found = [_assigned(iter(tree.body), name) for tree in self._modules.values()]
        classes = [node for tree in self._modules.values() for node in tree.body if isinstance(node, ast.ClassDef)]
        return [value for values in found for value in values] or [
            value for owner in classes for value in _assigned(iter(owner.body), name)
        ]


def _assigned(nodes: Iterator[ast.AST], name: str) -> list[ast.expr]:
    found = []
    for node in nodes:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            found += [value] if value is not None else []
    return found


def _walk(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.AST]]:
    """Every node below, with the module, classes and functions around it."""
    for child in ast.iter_child_nodes(node):
        yield scope, child
        is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _walk(child, (*scope, child) if is_scope else scope)


def _function(scope: Scope) -> Function | None:
    inner = scope[-1] if scope else None
    return inner if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _parameters(function: Function) -> list[str]:
    """The names of a function's parameters as a caller counts them, without `self`."""
    arguments = function.args
    names = [parameter.arg for parameter in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _called(call: ast.Call) -> str:
    """The last part of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_method(node: object) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in LEVELS


def _is_logger(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in LOGGERS
