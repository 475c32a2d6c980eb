"""Views of stored rows, as clients see them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def view_of(view: type[S], row: msgspec.Struct, **more: Any) -> S:
    """A ``view`` of the fields that ``row`` has by the same names, and of ``more``."""
    names = _shared(view, type(row))
    return view(**{name: getattr(row, name) for name in names if name not in more}, **more)


@lru_cache(maxsize=256)
def _shared(view: type[msgspec.Struct], row: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of fields that both have."""
    return tuple(name for name in view.__struct_fields__ if hasattr(row, name))
