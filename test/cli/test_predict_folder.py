"""What `predict` begins, goes on with, leaves out and leaves alone."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from support.predictions import NANO, ROOT, contents, flat_folder, predict, rows, save

from internimage_perception.cli.main import main


@pytest.fixture
def flat(tmp_path):
    return flat_folder(tmp_path / "flat")


def test_what_cannot_be_read_is_left_out_and_made_up_for_later(flat, brightness_bundle, tmp_path, capsys):
    out = tmp_path / "out"
    good = (flat / "4.png").read_bytes()
    (flat / "1.png").write_bytes(b"no picture")
    (flat / "2.png").unlink()
    (flat / "2.png").symlink_to("2.png")
    (flat / "4.png").write_bytes(good[:-30])
    assert predict(out, flat / "list.csv", model=brightness_bundle) == 1
    said = capsys.readouterr()
    assert "3 pictures labelled; 3 left out" in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("left out")]
    assert [line.split(":")[0] for line in lines] == ["left out F_1", "left out F_2", "left out F_4"]
    assert all(f"{number}.png" in line for number, line in zip((1, 2, 4), lines, strict=True))
    assert [row["id"] for row in rows(out)] == ["F_0", "F_3", "F_5"]
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    (flat / "2.png").unlink()
    save(flat / "1.png", np.full((9, 9, 3), 20, np.uint8))
    save(flat / "2.png", np.full((9, 9, 3), 40, np.uint8))
    (flat / "4.png").write_bytes(good)
    assert predict(out, flat / "list.csv", model=brightness_bundle) == 0
    assert "6 pictures labelled, 3 of them earlier" in capsys.readouterr().out
    assert [row["id"] for row in rows(out)] == [f"F_{number}" for number in range(6)]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_nothing_at_all_to_label_is_an_error(flat, brightness_bundle, tmp_path, capsys):
    for number in range(6):
        (flat / f"{number}.png").write_bytes(b"")
    assert predict(tmp_path / "out", flat / "list.csv", model=brightness_bundle) == 1
    assert "none of 6 pictures could be used" in capsys.readouterr().err
    assert rows(tmp_path / "out") == []


def test_a_killed_run_goes_on(brightness_bundle, tmp_path, capsys):
    """After a kill: the same bytes as an uninterrupted run, and no leftovers."""
    rng = np.random.default_rng(1)
    for number in range(300):
        save(tmp_path / "in" / f"{number:03}.png", rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    words = ["--confidence", "--model", str(brightness_bundle)]
    command = [
        sys.executable,
        "-m",
        "internimage_perception.cli.main",
        "predict",
        str(tmp_path / "in"),
        *words,
    ]
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*command, "--out", str(out)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and len(list(out.glob("ids/*.png"))) < 5:
        time.sleep(0.002)
    process.kill()
    process.wait()
    there = len(list(out.glob("ids/*.png")))
    assert 5 <= there < 300, "the run ended before it could be killed"
    (out / "ids" / ".001.png.abc.part").write_bytes(b"torn")
    assert main(["predict", str(tmp_path / "in"), *words, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert f"going on behind {there} of 300 pictures" in said.err
    assert (
        main(["predict", str(tmp_path / "in"), *words, "--workers", "3", "--out", str(tmp_path / "whole")])
        == 0
    )
    assert contents(out) == contents(tmp_path / "whole")


def test_a_folder_is_for_one_set_of_options(flat, brightness_bundle, tmp_path, capsys):
    out = tmp_path / "out"

    def again(*words, inputs=(flat / "list.csv",), model=brightness_bundle):
        code = predict(out, *inputs, *words, model=model)
        return code, capsys.readouterr().err

    assert again()[0] == 0
    before = contents(out)
    shutil.copytree(flat, tmp_path / "moved")
    for said in (
        again("--confidence"), again("--no-color"), again("--backend", "null"), again(model=NANO),
        again(inputs=(flat,)), again(inputs=(tmp_path / "moved" / "list.csv",)),
    ):  # fmt: skip
        assert said[0] == 1
        assert "holds predictions with other options" in said[1]
    assert "(pictures; see" in said[1]
    assert contents(out) == before
    assert again("--workers", "2")[0] == 0
    assert contents(out) == before
    (out / "predict.json").write_text("{torn")
    code, said = again()
    assert code == 1 and "holds predictions with other options (made_by" in said


def test_foreign_folders_are_left_alone(flat, brightness_bundle, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    assert predict(out, flat, model=brightness_bundle) == 1
    assert "holds other files already (thesis.tex)" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    assert predict(out / "thesis.tex", flat, model=brightness_bundle) == 1
    assert (out / "thesis.tex").read_text() == "mine"
    # What a run leaves that was killed while it began does not count.
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / ".predict.json.xyz.part").write_text("{")
    assert predict(tmp_path / "torn", flat, model=brightness_bundle) == 0


def test_two_runs_do_not_share_a_folder(flat, brightness_bundle, tmp_path, capsys):
    import fcntl  # noqa: PLC0415

    out = tmp_path / "out"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert predict(out, flat, model=brightness_bundle) == 1
    assert "another process is writing" in capsys.readouterr().err
    os.close(handle)
    assert predict(out, flat, model=brightness_bundle) == 0


def test_inputs_are_never_written_over(flat, brightness_bundle, tmp_path, capsys):
    before = contents(flat)
    for out in (flat, flat / "out", flat.parent):
        assert predict(out, flat, model=brightness_bundle) == 1
        assert "nothing is written where pictures are read" in capsys.readouterr().err
    assert predict(flat, flat / "0.png", model=brightness_bundle) == 1
    assert "nothing is written where pictures are" in capsys.readouterr().err
    # Somebody leads a folder that is gone on in to the pictures.
    out = tmp_path / "out"
    assert predict(out, flat, model=brightness_bundle) == 0
    shutil.rmtree(out / "color")
    (out / "color").symlink_to(flat)
    (out / "ids" / "3.png").unlink()
    assert predict(out, flat, model=brightness_bundle) == 1
    assert "nothing is written where pictures are read" in capsys.readouterr().err
    assert contents(flat) == before
    # A list may lie beside its outputs.
    assert predict(flat / "out", flat / "list.csv", model=brightness_bundle) == 0


@pytest.mark.parametrize(
    "name", ["../../evil", "/srv/evil", "a/../../../evil", "./F_0", "a//b", "..", "x" * 300]
)
def test_ids_do_not_lead_out(flat, brightness_bundle, tmp_path, name, capsys):
    (flat / "list.csv").write_text(f"id,img_path\nF_0,0.png\n{name},1.png\n")
    before = sorted(tmp_path.rglob("*"))
    assert predict(tmp_path / "out", flat / "list.csv", model=brightness_bundle) == 1
    assert "cannot name an output file" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_pictures_of_one_name_are_refused(flat, brightness_bundle, tmp_path, capsys):
    shutil.copytree(flat, tmp_path / "other")
    assert predict(tmp_path / "out", flat, tmp_path / "other", model=brightness_bundle) == 1
    assert "would both become 0.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
