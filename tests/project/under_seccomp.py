"""Run a command under a seccomp profile, without rights: ``python under_seccomp.py FILE COMMAND``.

Loads the profile with libseccomp as a container runtime would, drops root where it has it, and
becomes the command. It is a program of its own, for what it does cannot be undone.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

NOBODY = 65534
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
OPERATORS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
UNKNOWN_NAME = -1


class Argument(ctypes.Structure):
    """``struct scmp_arg_cmp`` of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def action(name: str, errno: int) -> int:
    """The number of an action; the profile uses two."""
    return {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO | errno}[name]


def confine(path: str) -> None:
    """Put this process under the profile in ``path``, for good."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    add = library.seccomp_rule_add_array
    add.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Argument),
    ]
    with open(path, encoding="utf-8") as file:
        profile = json.load(file)
    context = library.seccomp_init(action(profile["defaultAction"], profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        arguments = [
            Argument(a["index"], OPERATORS[a["op"]], a["value"], a.get("valueTwo", 0))
            for a in rule.get("args", [])
        ]
        array = (Argument * len(arguments))(*arguments)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            # A name that this libseccomp does not know is left out, as runtimes do.
            if number != UNKNOWN_NAME:
                done = add(
                    context,
                    action(rule["action"], rule.get("errnoRet", 1)),
                    number,
                    len(arguments),
                    array,
                )
                assert done == 0, (name, done)
    assert library.seccomp_load(context) == 0


def drop_root() -> None:
    """Become nobody, as a pod's processes are."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


if __name__ == "__main__":
    drop_root()
    confine(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # to become it is the point
