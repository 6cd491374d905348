"""The generated parts of the specification: tables between markers in spec/*.md."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

from domains import USES
from wire import Type, classes, field_texts, plain, schema, texts_after

from strongroom.protocol import limits, rules
from strongroom.protocol.errors import WORDS, Number

SPEC = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SCHEMA = schema()["types"]


def filled(text: str) -> str:
    """The text with every marked part made anew. Raises KeyError for a marker that names nothing."""
    return MARKED.sub(lambda found: f"{found[1]}{_part(found[2])}{found[4]}", text)


def undocumented(texts: list[str]) -> list[str]:
    """Names of message types that no text has a table of."""
    marked = {found[2].removeprefix("type ") for text in texts for found in MARKED.finditer(text)}
    return [name for name in classes() if name not in marked]


def _part(name: str) -> str:
    if name.startswith("type "):
        return _type_table(name.removeprefix("type "))
    return {
        "errors": _error_table,
        "limits": lambda: _limit_table(limits),
        "limits of rules": lambda: _limit_table(rules),
        "domains": _domain_table,
    }[name]()


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _type_table(name: str) -> str:
    kind, described = classes()[name], SCHEMA[name]
    texts = field_texts(kind)
    rows = []
    if described["tag"]:
        field, tag = described["tag"]
        rows.append([f"`{field}`", f'`"{tag}"`', ""])
    rows += [[f"`{field}`", shown(of), texts.get(field, "")] for field, of in described["fields"]]
    about = plain(inspect.getdoc(kind) or "")
    return f"**`{name}`** {about}\n\n" + (_table(["field", "type", "meaning"], rows) if rows else "No fields.\n")


def shown(kind: Type) -> str:
    """A type in words."""
    match kind["is"]:
        case "bytes" | "text" as what:
            return f"{what} {_range(kind)}".strip()
        case "list":
            return f"list {_range(kind)} of {shown(kind['of'])}".replace("  ", " ")
        case "int":
            return f"int {kind['min']}–{_power(int(kind['max']))}"
        case "one of":
            return " or ".join(f'`"{value}"`' if isinstance(value, str) else f"`{value}`" for value in kind["values"])
        case "either":
            return " or ".join(shown(one) for one in kind["of"])
        case "map":
            return f"`{kind['type']}`"
        case other:
            return str(other)


def _range(kind: Type) -> str:
    low, high = kind["min"], kind["max"]
    if high is None:
        return "" if not low else f"≥ {low}"
    return str(high) if low == high else f"{low}–{high}"


def _power(value: int) -> str:
    for exponent in (32, 40, 63):
        if value == 2**exponent:
            return f"2^{exponent}"
        if value == 2**exponent - 1:
            return f"2^{exponent} − 1"
    return str(value)


def _error_table() -> str:
    return _table(["number", "name", "what is wrong", "what to do"], [[str(int(n)), n.name, *WORDS[n]] for n in Number])


def _limit_table(module: ModuleType) -> str:
    rows = []
    for name, text in texts_after(ast.parse(inspect.getsource(module)).body):
        value = vars(module).get(name)
        if name.isupper() and not name.startswith("_") and isinstance(value, int | float):
            rows.append([f"`{name}`", f"{value:,}".replace(",", " "), text])
    return _table(["name", "value", "of what"], rows)


def _domain_table() -> str:
    rows = [[f"`{use.domain.value}`", use.by, " ‖ ".join(name for name, _ in use.parts) or "none"] for use in USES]
    return _table(["domain", "used for", "parts, in order"], rows)
