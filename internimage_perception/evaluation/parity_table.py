"""The outcome of a comparison of backends: rows that name their bundle, as text and as a document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from internimage_perception.evaluation.parity import Agreement
from internimage_perception.evaluation.subject import Subject

_HEADS = (
    "bundle", "backend", "same ids", "least", "max diff.", "mean diff.", "frames/call", "ms/frame",
    "p95 ms/frame", "faster",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A bundle on a backend that ran, and how its answers agree."""

    subject: Subject
    backend: str
    agreement: Agreement


@dataclass(frozen=True)
class Missing:
    """A bundle on a backend that did not run, and why."""

    subject: Subject
    backend: str
    reason: str


@dataclass
class Comparison:
    """A row for each that ran, and why others did not.

    Attributes:
        rows: beside the first one, which is the reference.
        missing: what did not run.
        stored: exports beside PyTorch's answers to the frames that they bring along; only where one backend
            alone ran.
        stored_missing: exports that did not answer those frames.
    """

    rows: list[Row] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    stored: list[Row] = field(default_factory=list)
    stored_missing: list[Missing] = field(default_factory=list)

    @property
    def independent(self) -> bool:
        """Whether a second backend ran: one alone may be wrong in every row."""
        return len({row.backend for row in self.rows}) > 1


def failures(
    comparison: Comparison, subjects: Sequence[Subject], asked: Sequence[str], least: float | None
) -> Iterator[str]:
    """Yield why a comparison does not prove what was asked for.

    Args:
        comparison: the outcome.
        subjects: the bundles, each of which must have a row.
        asked: backends that the user named, each of which must have a row.
        least: share of a frame's class ids that must agree; None: any.
    """
    ran = {row.backend for row in comparison.rows}
    for name in asked:
        if name not in ran:
            reasons = dict.fromkeys(item.reason for item in comparison.missing if item.backend == name)
            yield f"{name}, named by --backends, ran for no bundle: {'; '.join(reasons)}"
    for subject in subjects:
        if all(row.subject is not subject for row in comparison.rows):
            own = [f"{item.backend}: {item.reason}" for item in comparison.missing if item.subject is subject]
            yield f"{subject.label} ran on no backend: {'; '.join(own)}"
    if least is None:
        return
    compared = [*comparison.rows[1:], *comparison.stored]
    if not compared:
        yield (
            f"nothing was compared with anything but itself, so that --least {least:g} proves nothing: only "
            f"{comparison.rows[0].agreement.label} ran; install another backend, or take an export, which "
            "brings PyTorch's answers along"
        )
    for item in comparison.stored_missing:
        yield f"{item.subject.label} {item.backend} failed on the frames it brings along: {item.reason}"
    for row in compared:
        if row.agreement.least < least:
            yield f"{row.agreement.label} falls below {least:.4%}: {row.agreement.least:.4%}"


def table(comparison: Comparison) -> str:
    """Return the comparison as text, one line for each row and each that did not run."""
    text = _lines(comparison.rows)
    text += [f"{item.subject.label} {item.backend}: {item.reason}" for item in comparison.missing]
    if not comparison.independent:
        only = comparison.rows[0].backend
        text.append(
            f"NO INDEPENDENT REFERENCE: {only} alone ran here, and what is wrong in it is wrong in every row"
        )
    if comparison.stored:
        text.append("beside PyTorch's answers to the frames that the exports bring along:")
        text += _lines(comparison.stored)
    text += [
        f"{item.subject.label} {item.backend}, on the frames it brings along: {item.reason}"
        for item in comparison.stored_missing
    ]
    return "\n".join(text)


def as_document(comparison: Comparison) -> dict[str, object]:
    """Return the comparison as plain values for a file."""
    return {
        "independent_reference": comparison.independent,
        "backends": [_values(row) for row in comparison.rows],
        "beside_stored_answers": [_values(row) for row in comparison.stored],
        "not_run": [_reason(item) for item in comparison.missing],
        "stored_answers_not_run": [_reason(item) for item in comparison.stored_missing],
    }


def _reason(item: Missing) -> dict[str, object]:
    return {**_named(item.subject), "backend": item.backend, "reason": item.reason}


def _values(row: Row) -> dict[str, object]:
    return {**_named(row.subject), "backend": row.backend, **row.agreement.to_dict()}


def _named(subject: Subject) -> dict[str, object]:
    return {"bundle": subject.folder, "identity": subject.bundle.identity()}


def _lines(rows: Sequence[Row]) -> list[str]:
    cells = [(row.subject.label, row.backend, *_figures(row.agreement)) for row in rows]
    widths = [max(map(len, column)) for column in zip(_HEADS, *cells, strict=True)]
    text = [
        "  ".join([*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:], widths[2:])])
        for line in (_HEADS, *cells)
    ]
    return [line.rstrip() for line in text]


def _figures(found: Agreement) -> tuple[str, ...]:
    return (
        f"{found.identical:.4%}", f"{found.least:.4%}", f"{found.max_difference:.4f}",
        f"{found.mean_difference:.6f}", str(found.frames_per_call), f"{found.median_ms:.1f}",
        f"{found.p95_ms:.1f}", "" if found.faster is None else f"{found.faster:.2f}x",
    )  # fmt: skip
