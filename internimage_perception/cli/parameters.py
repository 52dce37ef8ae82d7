"""`internimage-perception parameters`: the nodes' parameter table, as Markdown."""

import argparse

from internimage_perception.inference.parameters import rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    del parser


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    del options
    print("| parameter | type | default | values | meaning |\n|---|---|---|---|---|")
    for row in rows():
        print("| " + " | ".join(row) + " |")
    return 0
