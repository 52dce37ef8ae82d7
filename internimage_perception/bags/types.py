"""Message types for bags, without ROS: the common interfaces plus this package's own `msg/*.msg`."""

from functools import cache, lru_cache

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from internimage_perception.errors import BagError
from internimage_perception.resources import share_path

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
IMAGE_TYPES = frozenset({IMAGE, COMPRESSED_IMAGE})

_OWN_PACKAGE = "internimage_perception"
_IDL_SECTION = "=" * 80 + "\n"
_IDL_TITLE = "IDL: "


@cache
def message_types() -> Typestore:
    """Return the types for writing, and for reading bags that carry no definitions.

    Those are bags of ROS 2 Humble and older, so the store is Humble's; what this package publishes has not
    changed since. The package's own messages are registered from their `.msg` text.
    """
    store = get_typestore(Stores.ROS2_HUMBLE)
    own = {}
    for path in sorted(share_path("msg").glob("*.msg")):
        name = f"{_OWN_PACKAGE}/msg/{path.stem}"
        own.update(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    if own:
        store.register(own)
    return store


def make_message(msgtype: str, **fields: object) -> object:
    """Return a message to write, such as `make_message("std_msgs/msg/String", data="x")`.

    Raises BagError when the type is unknown or a field does not belong to it.
    """
    try:
        return message_types().types[msgtype](**fields)  # type: ignore[arg-type]  # checked when serialised
    except KeyError as error:
        message = f"message type {msgtype} is not known; common interfaces and {_OWN_PACKAGE}/msg/* are"
        raise BagError(message) from error
    except TypeError as error:
        message = f"wrong fields for {msgtype}: {error}"
        raise BagError(message) from error


def make_header(stamp_ns: int, frame_id: str) -> object:
    """Return a std_msgs/Header with a stamp given in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = make_message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return make_message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def deserialize(connection: Connection, raw: bytes) -> object:
    """Return the message in `raw`; arrays and image data are views of it.

    The definition in the bag is preferred, so that types unknown here can be read too. A ROS 1 CameraInfo
    comes with ROS 2's field names (`k` instead of `K`). Raises BagError when the bytes do not fit the type.
    """
    msgtype = connection.msgtype
    try:
        if isinstance(connection.owner, Ros1Reader):
            if msgtype == CAMERA_INFO:
                converted = message_types().ros1_to_cdr(raw, msgtype)
                return message_types().deserialize_cdr(converted, msgtype)
            return _store_of(connection).deserialize_ros1(memoryview(raw), msgtype)
        # A memoryview, because rosbags slices off the CDR header, which would copy bytes.
        return _store_of(connection).deserialize_cdr(memoryview(raw), msgtype)
    except SerdeError as error:
        message = f"cannot deserialise {msgtype}: {error}"
        raise BagError(message) from error
    except BagError:
        raise
    except Exception as error:
        # Generated parsers fail on damaged bytes in any way bytes can be wrong.
        message = f"cannot deserialise {msgtype}: {type(error).__name__}: {error}"
        raise BagError(message) from error


def _store_of(connection: Connection) -> Typestore:
    definition = connection.msgdef
    store = _store_from_definition(connection.msgtype, definition.format, definition.data)
    if connection.msgtype not in store.fielddefs:
        message = f"message type {connection.msgtype} is neither defined in the bag nor known"
        raise BagError(message)
    return store


@lru_cache(maxsize=256)
def _store_from_definition(msgtype: str, form: MessageDefinitionFormat, text: str) -> Typestore:
    """Build the types of one definition, apart from all others, so that no two bags can contradict."""
    if form == MessageDefinitionFormat.NONE:
        return message_types()
    try:
        types = {}
        if form == MessageDefinitionFormat.MSG:
            types.update(get_types_from_msg(text, msgtype))
        elif text.startswith(_IDL_SECTION + _IDL_TITLE):
            for section in text.split(_IDL_SECTION)[1:]:
                types.update(get_types_from_idl(section.split("\n", 1)[1]))
        else:
            types.update(get_types_from_idl(text))
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    except Exception:  # noqa: BLE001  # whatever a definition breaks, the common types may still do
        return message_types()
    return store
