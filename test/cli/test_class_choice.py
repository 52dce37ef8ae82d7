"""Classes of a bundle: those asked for, those of the weights' file, known ones, or numbers."""

from pathlib import Path

import pytest

from internimage_perception.cli.class_choice import choose_classes
from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import ConfigError
from internimage_perception.resources import share_path


def test_classes_of_every_origin(tmp_path):
    cityscapes = read_classes(share_path("config/classes/cityscapes19.yaml"))
    assert [(cityscapes[i].name, cityscapes[i].color) for i in (0, 13, 18)] == [
        ("road", (128, 64, 128)), ("car", (0, 0, 142)), ("bicycle", (119, 11, 32)),
    ]  # fmt: skip
    assert choose_classes(19, given=None)[0] == cityscapes
    assert choose_classes(25, given=Path("cityscapes19"))[0][:19] == cityscapes
    named, origin = choose_classes(19, given=None, names=["a", "b"])
    assert [spec.name for spec in named[:3]] == ["a", "b", "class_2"]
    assert "from the weights' file" in origin
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    assert [spec.name for spec in choose_classes(2, given=tmp_path / "names.txt")[0]] == ["one", "two"]
    for count in (1, 19, 150, 1000):
        colors = {spec.color for spec in choose_classes(count, given=None)[0]}
        assert len(colors) == count
    assert len({spec.color for spec in choose_classes(150, given=Path("cityscapes19"))[0]}) == 150


@pytest.mark.parametrize(
    ("given", "words"), [("cityscapes19", "has 3"), ("nothing", "there are cityscapes19")]
)
def test_lists_of_classes_that_do_not_fit_are_explained(given, words):
    with pytest.raises(ConfigError, match=words):
        choose_classes(3, given=Path(given))
