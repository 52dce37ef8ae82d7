"""What an export was made for and how well it answers, in lines for people."""

from collections.abc import Iterator

from internimage_perception.inference.bundle import ExportSpec
from internimage_perception.inference.export_spec import Range

_FIRST = "_relative_difference"


def export_lines(spec: ExportSpec) -> Iterator[str]:
    """Yield the precision and frames of an export, then a line for each kind of frames it was checked on."""
    sizes = f"{_text(spec.batch)} frames of {_text(spec.height)} rows and {_text(spec.width)} columns"
    yield f"{spec.precision}, for {sizes}"
    logits = spec.agreement.get("logits", {})
    for kind in [name.removesuffix(_FIRST) for name in logits if name.endswith(_FIRST)]:
        yield f"{_KINDS.get(kind, kind)}: {', '.join(_figures(spec, kind))}"


_KINDS = {
    "noise": "against PyTorch on noise",
    "noise_rounded": "  the same, every value rounded",
    "street": "against PyTorch on rendered streets",
    "street_rounded": "  the same, every value rounded",
    "given": "against PyTorch on the frames given",
    "given_rounded": "  the same, every value rounded",
}


def _figures(spec: ExportSpec, kind: str) -> Iterator[str]:
    found = {
        (output, name.removeprefix(f"{kind}_")): value
        for output, figures in spec.agreement.items()
        for name, value in figures.items()
        if name.startswith(f"{kind}_")
    }
    yield f"logits {found['logits', 'relative_difference']:.2g} of the largest off"
    if ("logits", "largest_value") in found and f"{kind}_rounded{_FIRST}" in spec.agreement["logits"]:
        yield f"largest value inside {found['logits', 'largest_value']:.4g}"
    if ("class_ids", "identical") in found:
        yield f"classes {found['class_ids', 'identical']:.4%} identical"
    if ("class_ids", "miou") in found:
        yield f"mIoU {found['class_ids', 'miou']:.4f}"
    if ("confidence", "largest_difference") in found:
        yield f"confidence at most {found['confidence', 'largest_difference']:.0f} of 255 off"
    if ("probabilities", "largest_difference") in found:
        yield f"probabilities at most {found['probabilities', 'largest_difference']:.2g} off"


def _text(sizes: Range) -> str:
    least, usual, most = sizes
    return str(usual) if least == most else f"{least} to {most} (usually {usual})"
