"""Puts an enclave process under rules that Gramine has: found by Python itself when this directory is on PYTHONPATH.

No fork, no file locks, no memfd (the kernel kills who tries), and clocks that are all the host's. Other processes than
enclaves, and commands that do not end in `MARK`, are left alone.
"""

import ctypes
import os
import struct
import sys

MARK = "under-gramine-rules"
SHIM = "STRONGROOM_TEST_CLOCK_SHIM"

KILL, ALLOW, NOT_HERE = 0x80000000, 0x7FFF0000, 0x00050000 | 38  # ENOSYS
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # BPF: ld abs, jeq, jset, ret
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24  # struct seccomp_data, low halves of the arguments
X86_64 = 0xC000003E
CLONE, FORK, VFORK, FCNTL, FLOCK, MEMFD_CREATE, CLONE3 = 56, 57, 58, 72, 73, 319, 435
CLONE_THREAD = 0x00010000
LOCKS = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW and their open file description twins
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


def program():
    """The filter, as (code, jump if true, jump if false, value) with jumps counted from the next line."""
    lines = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, X86_64), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    for forbidden in (FORK, VFORK, FLOCK, MEMFD_CREATE):
        lines += [(EQUAL, 0, 1, forbidden), (RETURN, 0, 0, KILL)]
    # Its flags lie behind a pointer, which a filter can't follow: the C library then takes `clone`.
    lines += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, NOT_HERE)]
    lines += [(EQUAL, 0, 4, CLONE), (LOAD, 0, 0, FIRST), (ANY_BIT, 0, 1, CLONE_THREAD), (RETURN, 0, 0, ALLOW)]
    lines += [(RETURN, 0, 0, KILL)]
    lines += [(EQUAL, 0, 1 + 2 * len(LOCKS), FCNTL), (LOAD, 0, 0, SECOND)]
    for lock in LOCKS:
        lines += [(EQUAL, 0, 1, lock), (RETURN, 0, 0, KILL)]
    return [*lines, (RETURN, 0, 0, ALLOW)]


def forbid():
    filters = b"".join(struct.pack("<HBBI", *line) for line in program())
    buffer = ctypes.create_string_buffer(filters)
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(filters) // 8, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if MARK in sys.orig_argv or any(argument.startswith("strongroom.enclave.entries.") for argument in sys.orig_argv):
    shim = os.environ.get(SHIM, "")
    if shim and os.environ.get("LD_PRELOAD") != shim:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "LD_PRELOAD": shim})
    forbid()
