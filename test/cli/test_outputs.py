"""Output folders: a command replaces what it made itself, and nothing else."""

import pytest

from internimage_perception.cli.outputs import claim_folder
from internimage_perception.errors import PerceptionError


def test_what_others_made_is_left_alone(tmp_path):
    (tmp_path / "street").mkdir()
    (tmp_path / "street" / "precious").write_text("1")
    with pytest.raises(PerceptionError, match="holds street, which demo did not make"):
        claim_folder(tmp_path, "demo", ("replay", "street"))
    assert (tmp_path / "street" / "precious").exists()
    with pytest.raises(PerceptionError, match="is a file"):
        claim_folder(tmp_path / "street" / "precious", "demo", ("replay",))


def test_links_are_removed_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("1")
    out = tmp_path / "out"
    claim_folder(out, "demo", ("street",))
    (out / "street").symlink_to(elsewhere)
    claim_folder(out, "demo", ("street",))
    assert not (out / "street").is_symlink()
    assert (elsewhere / "kept").exists()
