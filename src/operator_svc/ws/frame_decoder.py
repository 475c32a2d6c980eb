"""From a text message of a client to its frame."""

from __future__ import annotations

from typing import Any

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import decoding
from operator_svc.protocol.frames import CLIENT_FRAMES, ClientFrame, FrameId

_FRAMES: dict[str, type[ClientFrame]] = {
    str(frame.__struct_config__.tag): frame for frame in CLIENT_FRAMES
}


class InvalidFrameError(Exception):
    """A message that is not a frame, or a frame that cannot be executed. ``id`` is the frame's, if
    it has one; ``unreadable`` is True for a message that could not be parsed."""

    def __init__(self, error: OperatorError, id: FrameId | None, *, unreadable: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.id = id
        self.unreadable = unreadable


def read(text: str) -> ClientFrame:
    """The frame in a text message; raises InvalidFrameError."""
    try:
        plain = decoding.loads(text)
    except OperatorError as error:
        unreadable = error.code is ErrorCode.INVALID_JSON
        raise InvalidFrameError(error, None, unreadable=unreadable) from error
    if not isinstance(plain, dict):
        raise _unreadable("frame", "it must be a JSON object", None)
    frame_id = _id_of(plain)
    kind = plain.get("type")
    if not isinstance(kind, str):
        raise _unreadable("type", "it is missing", frame_id)
    struct = _FRAMES.get(kind)
    if struct is None:
        known = ", ".join(_FRAMES)
        raise _unreadable("type", f"it must be one of {known}", frame_id)
    try:
        return decoding.convert(plain, struct)
    except OperatorError as error:
        raise InvalidFrameError(error, frame_id, unreadable=False) from error


def unreadable_binary() -> InvalidFrameError:
    """The error of a binary frame."""
    return _unreadable("frame", "it must be text, not binary", None)


def _unreadable(field: str, reason: str, frame_id: FrameId | None) -> InvalidFrameError:
    return InvalidFrameError(OperatorError.invalid(field, reason), frame_id, unreadable=True)


def _id_of(plain: dict[str, Any]) -> FrameId | None:
    """The id as far as it is one; it is repeated even where the rest cannot be read."""
    try:
        frame_id: FrameId | None = msgspec.convert(plain.get("id"), FrameId | None)
        return frame_id
    except msgspec.ValidationError:
        return None
