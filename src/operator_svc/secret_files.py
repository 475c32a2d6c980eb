"""Secrets in files: ``NAME_FILE`` beside each variable that may hold a secret.

Container platforms mount secrets as files, which neither ``docker inspect`` nor a child process
shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SUFFIX = "_FILE"
MAX_BYTES = 64 * 1024
"""Largest file of a secret; a larger one is another file, named by mistake."""


def read_secret_files(
    environ: Mapping[str, str], names: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """``environ`` with the files of ``names`` read; returns it with one line for each problem.

    The end of the last line is not part of a secret. An empty path counts as not set.
    """
    values = dict(environ)
    problems = []
    for name in names:
        path = values.pop(name + SUFFIX, "")
        if not path:
            continue
        if values.get(name):
            problems.append(f"{name} and {name}{SUFFIX} are both set: keep one of them")
            continue
        try:
            values[name] = _content(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(f"{name}{SUFFIX}: {path!r} cannot be used: {reason}")
    return values, problems


def _content(path: str) -> str:
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    if b"\0" in content:
        raise ValueError("it is not text")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError("it is empty")
    return text
