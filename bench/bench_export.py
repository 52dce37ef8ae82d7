"""How well exports of the shipped model answer, in every precision, as `export` itself measures it.

640x480, one frame per call. Int8 is calibrated on 32 frames of a training street, four cameras, and checked
on 8 others of it besides. Writes `results/export.json`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from results import command, save

from internimage_perception.inference.bundle import Bundle

PRECISIONS = ("fp32", "fp16", "int8")
FRAMES = 32
SEED = 41


def main() -> int:
    """Export, read what was found, and save it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano", help="bundle, or name of a shipped one")
    options = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        # Far apart in time, so that few images show much.
        command(
            "scene", "--frames", 10, "--rate", 0.4, "--seed", SEED, "--workers", 2, "--out", work / "street"
        )
        for precision in PRECISIONS:
            out = work / precision
            real = ("--calibrate", work / "street/bag", "--frames", FRAMES)
            command("export", options.model, "--precision", precision, "--out", out, *real)
            export = Bundle.load(out).export
            if export is None:
                sys.exit(f"{out} says nothing of an export")
            size = (out / "plugin.onnx").stat().st_size
            found[precision] = {"plugin_onnx_bytes": size, **export.agreement}
    bundle = Bundle.load(options.model)
    save("export", {"model": bundle.name, "bundle": bundle.identity(), "precisions": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
