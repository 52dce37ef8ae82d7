"""Reading YAML so that every complaint names the file, the line and the key."""

import difflib
import math
import reprlib
from collections.abc import Hashable, Iterator
from pathlib import Path

import yaml

from internimage_perception.errors import CalibrationError

_MERGE = "tag:yaml.org,2002:merge"


class NodeLoader(yaml.SafeLoader):
    """YAML's safe loader, but for leaving nodes as they are.

    PyYAML writes merged keys (`<<`) into the nodes that ask for them. Where aliases lead to one node twice,
    its own keys and those merged earlier could no longer be told apart.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Return the mapping of a node."""
        copy = yaml.MappingNode(node.tag, merged_pairs(node), node.start_mark, node.end_mark)
        return dict(super().construct_mapping(copy, deep=deep))


def merged_pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return a mapping's keys and values, those of its merge keys first: of equal keys the last one counts.

    Raises yaml.constructor.ConstructorError when something else than mappings is to be merged.
    """
    return _merged_pairs(node, ())


def _merged_pairs(node: yaml.MappingNode, inside: tuple[yaml.Node, ...]) -> list[tuple[yaml.Node, yaml.Node]]:
    merged: list[tuple[yaml.Node, yaml.Node]] = []
    own = []
    for key, value in node.value:
        if key.tag != _MERGE:
            own.append((key, value))
            continue
        parents = value.value if isinstance(value, yaml.SequenceNode) else [value]
        # The first of several parents counts.
        for parent in reversed(parents):
            if not isinstance(parent, yaml.MappingNode) or parent in inside or parent is node:
                problem = "<< must name a mapping, or a list of them, that lies elsewhere"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            merged += _merged_pairs(parent, (*inside, node))
    return merged + own


class Section:
    """A mapping of a YAML file that knows where its keys stand.

    Keys are text, without duplicates; merge keys (`<<`) are resolved. The readers below raise
    CalibrationError with a message such as `rig.yaml:7: camera 'front': camera.fx: ...`.
    """

    def __init__(self, loader: NodeLoader, node: yaml.Node, file: Path, owner: str, prefix: str) -> None:
        self._loader, self._node, self._file, self._owner, self._prefix = loader, node, file, owner, prefix
        self._nodes: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        if not isinstance(node, yaml.MappingNode):
            raise self.error("", "must be a mapping of keys to values")
        own: set[str] = set()
        for key_node, _ in node.value:
            name = str(key_node.value)
            if name in own and key_node.tag != _MERGE:
                self._lines[name] = key_node.start_mark.line + 1
                raise self.error(name, "appears twice")
            own.add(name)
        try:
            pairs = merged_pairs(node)
        except yaml.MarkedYAMLError as error:
            raise self.error("", str(error.problem)) from error
        for key_node, value_node in pairs:
            self._nodes[str(key_node.value)] = value_node
            self._lines[str(key_node.value)] = key_node.start_mark.line + 1

    @property
    def file(self) -> Path:
        """The file that the section is part of."""
        return self._file

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def error(self, key: str, message: str) -> CalibrationError:
        """Return the error to raise about `key` ("" for the section itself)."""
        line = self._lines.get(key, self._node.start_mark.line + 1)
        path = (self._prefix + key) if key else self._prefix.rstrip(".")
        parts = (f"{self._file}:{line}", self._owner, path, message)
        return CalibrationError(": ".join(part for part in parts if part))

    def restrict(self, *known: str) -> None:
        """Refuse keys other than `known`."""
        for key in self:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise self.error(key, f"unknown key{hint}; known keys: {', '.join(sorted(known))}")

    def is_list(self, key: str) -> bool:
        """Return whether the value is a sequence."""
        return isinstance(self._nodes.get(key), yaml.SequenceNode)

    def value(self, key: str) -> object:
        """Return the value as plain Python objects. Raises CalibrationError when the key is missing."""
        if key not in self._nodes:
            raise self.error(key, "this key is missing")
        try:
            value: object = self._loader.construct_object(self._nodes[key], deep=True)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(key, f"cannot be read: {error}") from error
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a non-empty text."""
        if default is not None and key not in self:
            return default
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"must be a text, not {reprlib.repr(value)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.value(key) if key in self else default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {reprlib.repr(value)}")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self._number(key, self.value(key))

    def numbers(self, key: str, count: int | None = None) -> list[float]:
        """Return a list of finite numbers, `count` of them where given."""
        value = self.value(key)
        if not isinstance(value, list) or count not in {None, len(value)}:
            wanted = "numbers" if count is None else f"{count} numbers"
            raise self.error(key, f"must be a list of {wanted}, not {reprlib.repr(value)}")
        return [self._number(key, item) for item in value]

    def rows(self, key: str, count: int, columns: int) -> list[list[float]]:
        """Return `count` rows of `columns` numbers, written as rows or as one flat list."""
        value = self.value(key)
        if isinstance(value, list):
            flat = [item for row in value for item in (row if isinstance(row, list) else [row])]
            widths = {len(row) if isinstance(row, list) else columns for row in value}
            if len(flat) == count * columns and widths == {columns}:
                return [
                    [self._number(key, item) for item in flat[start : start + columns]]
                    for start in range(0, count * columns, columns)
                ]
        raise self.error(key, f"must be {count} rows of {columns} numbers, not {reprlib.repr(value)}")

    def section(self, key: str, owner: str | None = None) -> "Section":
        """Return the mapping under `key`; `owner` starts a new subject for messages."""
        if key not in self._nodes:
            raise self.error(key, "this key is missing")
        prefix = f"{self._prefix}{key}." if owner is None else ""
        return Section(
            self._loader, self._nodes[key], self._file, self._owner if owner is None else owner, prefix
        )

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, str):
            # YAML 1.1 reads 1e-3, without a point, as text.
            try:
                value = float(value)
            except ValueError:
                raise self.error(key, f"must be a number, not {reprlib.repr(value)}") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"must be a finite number, not {reprlib.repr(value)}")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise self.error(key, f"must be a finite number, not {reprlib.repr(value)}")
        return number


def read_section(file: Path) -> Section:
    """Return the top-level mapping of a YAML file. Raises CalibrationError when it cannot be read as one."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror or error}"
        raise CalibrationError(message) from error
    except UnicodeDecodeError as error:
        message = f"{file}: is not UTF-8 text: {error.reason} at byte {error.start}"
        raise CalibrationError(message) from error
    try:
        loader = NodeLoader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        message = f"{file}{line}: is not valid YAML: {getattr(error, 'problem', None) or error}"
        raise CalibrationError(message) from error
    if node is None:
        message = f"{file}: is empty"
        raise CalibrationError(message)
    return Section(loader, node, file, "", "")
