"""`internimage-perception`: one command, its parts imported only when called."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from internimage_perception import __version__
from internimage_perception.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED
from internimage_perception.cli.interrupts import Interrupts
from internimage_perception.errors import PerceptionError

_COMMANDS = {
    "replay": "run a model over bags: masks, overlays, timings, report",
    "evaluate": "say how well bags with known truth are segmented; thresholds become an exit code",
    "inspect": "say what a bag, a model bundle or a rig file holds",
    "classify": "say what photographs show, by a classification model",
    "predict": "label pictures by a segmentation model: masks, colours, confidence, scores",
    "submit": "make of masks, or check, a submission to the DACON contest of 2023",
    "convert-camera": "fit another camera model to the lenses of a rig or calibration file",
    "bundle": "make a model bundle from an architecture and weights",
    "export": "make of a bundle the graphs that a vehicle runs: of fixed sizes, in fp32, fp16 or int8",
    "convert-checkpoint": "recognise official weights and make a model bundle of them",
    "build-engine": "build the TensorRT engines of bundles or exports ahead of time, for this computer",
    "accept-target": "prove on a vehicle computer that it runs the models rightly and in time",
    "parity": "run the same frames through every backend of this computer: agreement and speed, one table",
    "models": "list the networks: parameters, multiply-adds, published scores, licences",
    "scene": "record a drive along a generated street, with the truth beside it",
    "augment": "take labelled pictures through other lenses: labels, objects and intrinsics with them",
    "train": "train a segmentation network on labelled pictures, resumable at any moment",
    "demo": "drive along a generated street with four fisheyes: record, segment, compare with the truth",
    "demo-real": "replay every bag and image set of a folder of real data",
    "parameters": "list the parameters of the nodes",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 good, 1 failed, 2 wrong usage, 130 interrupted)."""
    if arguments is None:
        Interrupts().install()
        # Which backend was taken, and why, is for whoever sits there; a caller has logging of its own.
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        logging.getLogger("internimage_perception.inference").setLevel(logging.INFO)
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="internimage-perception",
        description="Camera perception for vehicles with fisheye lenses: offline tools.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        for name, summary in _COMMANDS.items():
            child = commands.add_parser(
                name, help=summary, description=summary[0].upper() + summary[1:] + "."
            )
            # Only the chosen command's module is imported: a vehicle computer lacks what others need.
            if name == chosen:
                module = importlib.import_module(f"internimage_perception.cli.{name.replace('-', '_')}")
                module.add_arguments(child)
                child.set_defaults(run=module.run)
        options = parser.parse_args(words)
        return int(options.run(options))
    except PerceptionError as error:
        print(f"internimage-perception {chosen}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"internimage-perception {chosen}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (head, less) has gone; that is no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"internimage-perception {chosen}: {reason}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
