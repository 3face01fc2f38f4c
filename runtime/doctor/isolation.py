"""Forbidding a process the network, to show that nothing here needs one."""

from __future__ import annotations

import contextlib
import socket
import sys

# Of sched.h: os.unshare came with Python 3.12.
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_INTERNET = {socket.AF_INET, socket.AF_INET6}


def forbid_network() -> str:
    """Takes the network from this process for good; returns how, in words.

    In a network namespace of its own there is no interface, for compiled code neither. Where the system lets no one
    make one, Python's own sockets are refused.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, AttributeError):
            # Some Pythons are built without it.
            import ctypes

            # Root may have the one, others need a user namespace around it.
            for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK):
                if ctypes.CDLL(None).unshare(flags) == 0:
                    return "in a network namespace without any interface"
    sys.addaudithook(_refuse)
    return "with Python's internet sockets refused"


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    internet = event == "socket.__new__" and arguments[1] in _INTERNET
    if internet or event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect"}:
        raise PermissionError("the doctor forbids the network")
