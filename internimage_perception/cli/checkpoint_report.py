"""What was found in a file with weights, for people and programs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.models.checkpoint_files import CheckpointFile
from internimage_perception.models.recognition import FittedWeights, Recognition


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A file with weights and the network they were recognised as.

    Attributes:
        path: the file.
        file: what lay in it.
        recognition: the network.
        fitted: its weights.
        picked: what --map made of the file's classes, in words; empty where all were kept.
        classes: where the names of the classes are from; empty for a backbone.
    """

    path: Path
    file: CheckpointFile
    recognition: Recognition
    fitted: FittedWeights
    picked: str
    classes: str

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        network, report = self.recognition, self.fitted.report
        return {
            "file": str(self.path),
            "entry": self.file.entry,
            "layout": self.file.layout(),
            "variant": network.variant,
            "task": network.task,
            "classes": network.classes,
            "class_names": self.classes,
            "architecture": network.architecture,
            "parameters": self.fitted.parameters,
            "found": list(network.found),
            "assumed": list(network.assumed),
            "left_out": list(report.ignored),
            "not_placed": list(report.unexpected),
            "missing": list(report.missing),
            "misshaped": list(report.misshaped),
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for people; of the keys that do not fit, every single one."""
        network, report = self.recognition, self.fitted.report
        yield f"{self.path}: {network}, {self.fitted.parameters / 1e6:,.1f} M parameters"
        yield f"  file: {self.file.layout()}"
        if self.file.averaged and self.file.averaged != self.file.entry:
            yield "    (--ema takes the moving average)"
        yield from (f"  {words}" for words in network.found)
        if self.picked:
            yield f"    {self.picked}"
        yield f"  architecture: {_short(network.architecture)}"
        yield "  assumed, because weights do not say it:"
        yield from (f"    {words}" for words in network.assumed)
        if self.classes:
            yield f"  classes: {self.classes}"
        left = Counter(key.split(".")[0] for key in report.ignored)
        if left:
            yield f"  left out: {', '.join(f'{top} ({_keys(count)})' for top, count in left.items())}"
        for label, keys in (
            ("not placed, and left out", report.unexpected),
            ("missing", report.missing),
            ("of another shape", report.misshaped),
        ):
            if keys:
                yield f"  {label}, {_keys(len(keys))}:"
                yield from (f"    {key}" for key in keys)


def _keys(count: int) -> str:
    return f"{count} key{'s' * (count != 1)}"


def _short(architecture: str | dict[str, object]) -> str:
    if isinstance(architecture, str):
        return architecture
    return "{" + ", ".join(f"{key}: {value}" for key, value in architecture.items()) + "}"
