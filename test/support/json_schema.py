"""As much of JSON Schema (2020-12) as this project's schemas use; an unknown keyword is an error."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip
_NOTES = {"$schema", "$defs", "title", "description"}


def violations(value: object, schema: Schema, root: Schema | None = None, where: str = "$") -> list[str]:
    """Return what of `value` does not fit, in words."""
    root = schema if root is None else root
    found: list[str] = []
    for keyword in schema:
        if keyword not in _NOTES:
            found += _RULES[keyword](value, schema, root, where)
    return found


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool) and name in ("integer", "number"):
        return False
    return isinstance(value, _TYPES[name])


def _ref(value: object, schema: Schema, root: Schema, where: str) -> Iterator[str]:
    yield from violations(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)


def _type(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(_is(value, name) for name in names):
        yield f"{where}: {value!r} is not {' or '.join(names)}"


def _const(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    if value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"


def _pattern(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']}"


def _minimum(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, (int, float)) and not value >= schema["minimum"]:
        yield f"{where}: {value!r} is below {schema['minimum']}"


def _maximum(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, (int, float)) and not value <= schema["maximum"]:
        yield f"{where}: {value!r} is above {schema['maximum']}"


def _any_of(value: object, schema: Schema, root: Schema, where: str) -> Iterator[str]:
    if all(violations(value, option, root, where) for option in schema["anyOf"]):
        yield f"{where}: fits none of {len(schema['anyOf'])} forms"


def _items(value: object, schema: Schema, root: Schema, where: str) -> Iterator[str]:
    for index, item in enumerate(value if isinstance(value, list) else []):
        yield from violations(item, schema["items"], root, f"{where}[{index}]")


def _required(value: object, schema: Schema, _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{where}: {name} is missing" for name in schema["required"] if name not in value)


def _properties(value: object, schema: Schema, root: Schema, where: str) -> Iterator[str]:
    for name, rule in schema["properties"].items():
        if isinstance(value, dict) and name in value:
            yield from violations(value[name], rule, root, f"{where}.{name}")


def _others(value: object, schema: Schema, root: Schema, where: str) -> Iterator[str]:
    rule = schema["additionalProperties"]
    for name in value if isinstance(value, dict) else ():
        if name in schema.get("properties", {}):
            continue
        if rule is False:
            yield f"{where}: {name} is unknown"
        else:
            yield from violations(value[name], rule, root, f"{where}.{name}")


_RULES = {
    "$ref": _ref, "type": _type, "const": _const, "pattern": _pattern, "minimum": _minimum,
    "maximum": _maximum, "anyOf": _any_of, "items": _items, "required": _required,
    "properties": _properties, "additionalProperties": _others,
}  # fmt: skip
