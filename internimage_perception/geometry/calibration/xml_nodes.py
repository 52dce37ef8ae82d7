"""OpenCV's XML as YAML nodes, so that one set of readers serves both."""

import re
from dataclasses import dataclass, field
from xml.parsers import expat  # reads no external entities; declarations of entities are refused below

import yaml

_MAPPING = "tag:yaml.org,2002:map"
_SEQUENCE = "tag:yaml.org,2002:seq"
_TEXT = "tag:yaml.org,2002:str"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_NULL = "tag:yaml.org,2002:null"


class XmlError(Exception):
    """XML that is not well-formed or not OpenCV's; `problem_mark` and `problem` are as in YAML's errors."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.problem_mark = yaml.Mark("", 0, line - 1, 0, None, 0)


@dataclass
class _Element:
    name: str
    mark: yaml.Mark
    children: list["_Element"] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


def compose_xml(text: str) -> yaml.Node:
    """Return the content of `<opencv_storage>` as a YAML mapping whose marks hold the lines.

    Elements named `_` are the items of a sequence, as are texts of several numbers and all `<data>`.

    Raises:
        XmlError: not well-formed, with a DTD, or without the root `opencv_storage`.
    """
    parser = expat.ParserCreate()
    root = _Element("", yaml.Mark("", 0, 0, 0, None, 0))
    stack = [root]

    def start(name: str, _: object) -> None:
        element = _Element(name, yaml.Mark("", 0, parser.CurrentLineNumber - 1, 0, None, 0))
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        stack[-1].text.append(data)

    def doctype(*_: object) -> None:
        raise XmlError("has a document type declaration, which OpenCV never writes", parser.CurrentLineNumber)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise XmlError(expat.ErrorString(error.code), error.lineno) from error
    top = root.children[0]
    if top.name != "opencv_storage":
        raise XmlError(f"the root element is <{top.name}>, OpenCV's is <opencv_storage>", top.mark.line + 1)
    return _mapping(top)


def _node(element: _Element) -> yaml.Node:
    mark = element.mark
    if element.children and all(child.name == "_" for child in element.children):
        return yaml.SequenceNode(_SEQUENCE, [_node(child) for child in element.children], mark, mark)
    if element.children:
        return _mapping(element)
    text = "".join(element.text).strip()
    items = text.split()
    if element.name == "data" or (len(items) > 1 and all(_is_number(item) for item in items)):
        return yaml.SequenceNode(_SEQUENCE, [_scalar(item, mark) for item in items], mark, mark)
    if text[:1] == text[-1:] == '"' and len(text) > 1:
        return yaml.ScalarNode(_TEXT, text[1:-1], mark, mark)
    return _scalar(text, mark) if text else yaml.ScalarNode(_NULL, "", mark, mark)


def _mapping(element: _Element) -> yaml.Node:
    pairs = [
        (yaml.ScalarNode(_TEXT, child.name, child.mark, child.mark), _node(child))
        for child in element.children
    ]
    return yaml.MappingNode(_MAPPING, pairs, element.mark, element.mark)


def _scalar(text: str, mark: yaml.Mark) -> yaml.Node:
    if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        # In decimal: a leading zero would mean octal in YAML.
        return yaml.ScalarNode(_INTEGER, str(int(text)), mark, mark)
    return yaml.ScalarNode(_FLOAT if _is_number(text) else _TEXT, text, mark, mark)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
