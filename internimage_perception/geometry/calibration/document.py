"""Calibration files as sections that know their lines: YAML, OpenCV's dialects of YAML and XML, and JSON."""

import re
from pathlib import Path

import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.calibration.xml_nodes import XmlError, compose_xml
from internimage_perception.geometry.yaml_section import NodeLoader, Section, merged_pairs

# Calibrations take kilobytes; a bag or a video given by mistake must not be read as a whole.
_LARGEST = 1 << 24


class OpenCvLoader(NodeLoader):
    """YAML's safe loader, taught the tag of OpenCV's matrices."""


def _mapping(loader: OpenCvLoader, node: yaml.MappingNode) -> dict[object, object]:
    return dict(loader.construct_mapping(node, deep=True))


OpenCvLoader.add_constructor("tag:yaml.org,2002:opencv-matrix", _mapping)


class Document:
    """The top-level mapping of a calibration or rig file before anything is known about its meaning.

    Attributes:
        file: the file.
        kind: `YAML`, `JSON` or `XML`.
        outline: the top-level keys and the nodes of their values.

    Raises:
        CalibrationError: not readable, not text, not valid, nested too deeply, or empty.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        text = _text(file)
        start = text.lstrip()[:1]
        self.kind = {"{": "JSON", "<": "XML"}.get(start, "YAML")
        try:
            self._loader, self._node = self._compose(text)
            self.outline = keys_of(self._node)
        except (yaml.YAMLError, XmlError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            reason = getattr(error, "problem", None) or " ".join(str(error).split())
            message = f"{file}{line}: is not valid {self.kind}: {reason}"
            raise CalibrationError(message) from error
        except RecursionError as error:
            message = f"{file}: is nested too deeply"
            raise CalibrationError(message) from error

    def section(self, owner: str) -> Section:
        """Return the top-level mapping; `owner` begins every complaint. To be called once."""
        return Section(self._loader, self._node, self.file, owner, "")

    def _compose(self, text: str) -> tuple[OpenCvLoader, yaml.Node]:
        if self.kind == "XML":
            return OpenCvLoader(""), compose_xml(text)
        if self.kind == "JSON":
            # YAML reads JSON but for tabs, which JSON does not allow inside texts, and OpenCV's comments.
            text = re.sub(r"(?m)^ *//.*$", "", text.replace("\t", " "))
        elif text.startswith("%YAML:"):
            # OpenCV's own way to write the directive; a comment keeps the lines' numbers.
            text = "#" + text
        # Printed ROS messages end in the mark that would begin another document.
        text = re.sub(r"\n---\s*\Z", "\n", text)
        loader = OpenCvLoader(text)
        if (node := loader.get_single_node()) is None:
            message = f"{self.file}: is empty"
            raise CalibrationError(message)
        return loader, node


def keys_of(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return the keys of a mapping node, merged ones (`<<`) included, and their nodes; else nothing."""
    pairs = merged_pairs(node) if isinstance(node, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror or error}"
        raise CalibrationError(message) from error
    if len(data) > _LARGEST:
        message = f"{file}: has more than {_LARGEST >> 20} MiB; that is no calibration file"
        raise CalibrationError(message)
    if data.startswith(b"\x1f\x8b"):
        message = f"{file}: is compressed; unpack it with gunzip"
        raise CalibrationError(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{file}: is not UTF-8 text: {error.reason} at byte {error.start}"
        raise CalibrationError(message) from error
