"""`internimage-perception demo-real`: every recording and image set of a folder through a model."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.cli.demo import MODEL
from internimage_perception.cli.outputs import claim_folder
from internimage_perception.cli.replayed import Replayed
from internimage_perception.cli.strip import write_strip
from internimage_perception.data.real_sets import RealSet, find_real_sets
from internimage_perception.errors import PerceptionError
from internimage_perception.files import write_text
from internimage_perception.inference.backends import BACKENDS
from internimage_perception.inference.bundle import SEGMENTATION, Bundle

_DEFAULT_FOLDER = Path("../shared/data")
_MADE = ("sets", "index.html")

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Replays of $folder</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
body { color: #222 }
table { border-collapse: collapse }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top }
td:first-child, th:first-child, td:last-child, th:last-child { text-align: left }
.failed { background: #fbe3e0 } figure { margin: 1.5rem 0 } figure img { max-width: 100% }
</style>
<h1>Replays of $folder</h1>
<p>$model</p>
<table><tr><th>set<th>images<th>masks<th>remarks
$rows
</table>
$strips
</html>
""")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one set; `failure` is empty when it worked."""

    name: str
    images: int = 0
    masks: int = 0
    remarks: tuple[str, ...] = ()
    failure: str = ""
    has_strip: bool = False

    def __str__(self) -> str:
        if self.failure:
            return f"FAILED  {self.name}: {self.failure}"
        remarks = "".join(f"; warning: {remark}" for remark in self.remarks)
        return f"ok      {self.name}: {self.masks} masks from {self.images} images{remarks}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=_DEFAULT_FOLDER, metavar="FOLDER",
        help=f"searched for bags and known image sets (default {_DEFAULT_FOLDER})",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for everything made")
    parser.add_argument(
        "--model", type=Path, default=Path(MODEL), metavar="BUNDLE",
        help=f"folder of a model bundle, or the name of a shipped one (default {MODEL})",
    )  # fmt: skip
    parser.add_argument("--backend", default="auto", choices=BACKENDS)


def run(options: argparse.Namespace) -> int:
    """Replay what is there; returns 1 when any of it fails."""
    out: Path = options.out
    sets = find_real_sets(options.folder, besides=out)
    bundle = Bundle.load(options.model)
    bundle.require_task(SEGMENTATION)
    about = f"Model {bundle.name}: weights from {bundle.provenance.get('weights', 'an unknown source')}."
    print(about, flush=True)
    claim_folder(out, "demo-real", _MADE)
    outcomes = []
    for item in sets:
        outcome = _replay(item, bundle, out / "sets" / item.name, options.backend)
        print(outcome, flush=True)
        outcomes.append(outcome)
    write_text(out / "index.html", _page(options.folder, about, outcomes))
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    print(f"{len(sets) - failed} of {len(sets)} sets replayed; reports: {out / 'index.html'}")
    return 1 if failed else 0


def _replay(item: RealSet, bundle: Bundle, folder: Path, backend: str) -> _Outcome:
    try:
        bag, rig = item.prepare(folder)
        report = Replay(
            ReplayOptions(bags=[bag], bundle=bundle.root, out=folder / "replay", rig=rig, backend=backend)
        ).run()
        images, masks = int(str(report["frames_in"])), int(str(report["frames_out"]))
        has_strip = masks > 0 and write_strip(
            folder / "strip.jpg", Replayed(folder / "replay", [bag], bundle, rig), bundle.classes
        )
    except PerceptionError as error:
        return _Outcome(item.name, failure=str(error))
    remarks = (*_texts(report.get("warnings")), *_texts(report.get("errors")))
    failure = "" if masks else "; ".join(remarks) or f"no masks from {images} images"
    return _Outcome(item.name, images, masks, remarks, failure, has_strip)


def _texts(lines: object) -> list[str]:
    return [str(line) for line in lines] if isinstance(lines, list | dict) else []


def _page(folder: Path, about: str, outcomes: Sequence[_Outcome]) -> str:
    rows, strips = [], []
    for outcome in outcomes:
        name = escape(outcome.name)
        if outcome.failure:
            rows.append(f'<tr class="failed"><td>{name}<td><td><td>{escape(outcome.failure)}')
            continue
        link = f'<a href="sets/{name}/replay/report.html">{name}</a>'
        remarks = "<br>".join(map(escape, outcome.remarks))
        rows.append(f"<tr><td>{link}<td>{outcome.images}<td>{outcome.masks}<td>{remarks}")
        if outcome.has_strip:
            image = f'<img loading="lazy" alt="{name}" src="sets/{name}/strip.jpg">'
            strips.append(f"<figure><figcaption>{link}</figcaption>{image}</figure>")
    return _PAGE.substitute(
        folder=escape(str(folder)), model=escape(about), rows="\n".join(rows), strips="\n".join(strips)
    )
