"""Views of stored rows, as clients see them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def view_of(view: type[S], row: msgspec.Struct, **more: Any) -> S:
    """A ``view`` of the fields that ``row`` has by the same names, and of ``more``."""
    names = (name for name in view.__struct_fields__ if name not in more and hasattr(row, name))
    return view(**{name: getattr(row, name) for name in names}, **more)
