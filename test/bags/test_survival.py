"""What a kill and a full disk leave behind: every finished segment, and a bag to continue."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.writer import SegmentedBagWriter

ROOT = Path(__file__).resolve().parents[2]
STORAGES = ("mcap", "sqlite3")

WRITE_FOREVER = """
    import sys
    from pathlib import Path
    import numpy as np
    from internimage_perception.bags.types import make_header, make_message
    from internimage_perception.bags.writer import SegmentedBagWriter

    writer = SegmentedBagWriter(sys.argv[1], storage=sys.argv[2])
    writer.add_topic("/mask", "sensor_msgs/msg/Image")
    position = int(writer.notes[-1]) if writer.notes else 0
    noise = np.random.default_rng(0).integers(0, 256, 60_000, dtype=np.uint8)
    while True:
        for _ in range(5):
            noise[0] = position % 256
            writer.write("/mask", make_message(
                "sensor_msgs/msg/Image", header=make_header(position, "f"), height=200, width=300,
                encoding="mono8", is_bigendian=0, step=300, data=noise), position)
            position += 1
        writer.roll(str(position))
        print(position, flush=True)
"""


@pytest.mark.parametrize("storage", STORAGES)
def test_kill_loses_at_most_the_unfinished_segment(tmp_path, storage):
    folder = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(WRITE_FOREVER), str(folder), storage]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    safe = 0
    for round_ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            for _ in range(2 + round_):
                safe = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                safe = int(line) if line.endswith("\n") else safe
        with open_bags(folder) as bag:
            stamps = [item.message.header.stamp.nanosec for item in bag.messages(["/mask"])]
            assert [item.error for item in bag.messages(["/mask"])] == [None] * len(stamps)
        assert stamps == list(range(len(stamps)))
        assert len(stamps) % 5 == 0
        assert safe <= len(stamps) <= safe + 5
    with SegmentedBagWriter(folder, storage=storage) as writer:
        assert int(writer.notes[-1]) == len(stamps)
    assert not (folder / ".part").exists()


def test_full_disk_is_named_and_costs_one_segment(tmp_path):
    script = """
        import resource, sys
        import numpy as np
        from internimage_perception.bags.types import make_header, make_message
        from internimage_perception.bags.writer import SegmentedBagWriter
        from internimage_perception.errors import BagError

        noise = np.random.default_rng(0).integers(0, 256, 1_200_000, dtype=np.uint8)
        writer = SegmentedBagWriter(sys.argv[1], storage=sys.argv[2])
        writer.add_topic("/mask", "sensor_msgs/msg/Image")
        def write(now):
            writer.write("/mask", make_message(
                "sensor_msgs/msg/Image", header=make_header(now, "f"), height=1000, width=1200,
                encoding="mono8", is_bigendian=0, step=1200, data=noise), now)
        write(1)
        writer.roll("one")
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        try:
            for now in range(2, 9):
                write(now)
            writer.roll("two")
        except BagError as error:
            print(error)
            try:
                write(10)
            except BagError as error:
                print(error)
    """
    for storage in STORAGES:
        folder = tmp_path / storage
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(folder), storage],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        first, second = done.stdout.splitlines()
        assert f"cannot write to the bag {folder}: " in first
        assert "its finished segments are intact" in first
        assert "is broken: nothing more can be written" in second
        with open_bags(folder) as bag:
            assert [item.receive_ns for item in bag.messages(["/mask"])] == [1]
        with SegmentedBagWriter(folder, storage=storage) as writer:
            assert writer.notes == ["one"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2_000_000
