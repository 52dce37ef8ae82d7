"""Names and colours for the classes of weights that come without them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.class_names import read_names
from internimage_perception.resources import share_path

Color = tuple[int, int, int]

_CITYSCAPES = "cityscapes19"
_SHIPPED = "config/classes"


def choose_classes(
    count: int, *, given: Path | None, names: Sequence[str] = (), palette: Sequence[Color] = ()
) -> tuple[tuple[ClassSpec, ...], str]:
    """Return `count` classes, and in words where their names are from.

    The given list goes first, then what the weights' file says, then Cityscapes for 19 classes, then
    numbers. Official Cityscapes networks have 150 classes, of which training used the first 19: a list may
    be shorter than the network's, and numbers follow.

    Args:
        count: classes of the network.
        given: YAML file, text file with a name per line, or the name of a list in `config/classes`.
        names: from the weights' file.
        palette: colours that go with them; empty without any.

    Raises:
        ConfigError: the given list is longer than the network's, or cannot be read.
    """
    if given is not None:
        path = _classes_file(given)
        is_yaml = path.suffix in {".yaml", ".yml"}
        listed, origin = read_classes(path) if is_yaml else _colored(read_names(path)), str(path)
        if len(listed) > count:
            raise ConfigError(f"{path} lists {len(listed)} classes, but the network has {count}")
    elif names and len(names) <= count:
        listed, origin = _colored(names, palette), "the weights' file"
    elif count == len(cityscapes := read_classes(share_path(f"{_SHIPPED}/{_CITYSCAPES}.yaml"))):
        listed, origin = cityscapes, f"{_CITYSCAPES}, because there are {count} (assumed)"
    else:
        listed, origin = (), ""
    missing = range(len(listed), count)
    others = _other_colors([spec.color for spec in listed], len(missing))
    numbered = [ClassSpec(i, f"class_{i}", color) for i, color in zip(missing, others, strict=True)]
    rest = f"class_{missing[0]} to class_{count - 1}" if missing else ""
    words = {
        (True, True): f"{len(listed)} names from {origin}; {rest} for the others, which have no names there",
        (True, False): f"names from {origin}",
        (False, True): f"{rest}: the weights do not say what they are; --classes names them",
    }
    return (*listed, *numbered), words[bool(listed), bool(missing)]


def _classes_file(given: Path) -> Path:
    if given.exists() or given.suffix:
        return given
    try:
        return share_path(f"{_SHIPPED}/{given}.yaml")
    except PerceptionError:
        names = ", ".join(sorted(path.stem for path in share_path(_SHIPPED).glob("*.yaml")))
        raise ConfigError(f"there is no list of classes {given}; there are {names}, or give a file") from None


def _colored(names: Sequence[str], palette: Sequence[Color] = ()) -> tuple[ClassSpec, ...]:
    colors = palette or tuple(_other_colors((), len(names)))
    return tuple(ClassSpec(i, name, color) for i, (name, color) in enumerate(zip(names, colors, strict=True)))


def _other_colors(taken: Sequence[Color], count: int) -> Iterator[Color]:
    """Yield colours that differ from the taken ones and from each other, distant ones first.

    A number's bits go to red, green, blue in turn, the lowest to the highest bit of each, as in the palette
    of Pascal VOC.
    """
    used, number = set(taken), 0
    while count:
        number += 1
        color = _bits(number, 0), _bits(number, 1), _bits(number, 2)
        if color not in used:
            count -= 1
            yield color


def _bits(number: int, channel: int) -> int:
    """Return every third bit of a number below 2^24, the first as the highest of eight."""
    return sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
