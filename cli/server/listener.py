"""The socket that the server listens at."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Collection
from typing import Self

from ...runtime.errors import BusyError, UsageError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Listener:
    """A bound socket.

    Args:
        host: a name or an address.
        port: 0 takes a free one.

    Attributes:
        is_loopback: whether only this machine can reach it.

    Raises:
        UsageError: the host is not this machine's, or the port is not ours to take.
        BusyError: another program has the port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except (OSError, UnicodeError) as error:
            raise UsageError(f"--host {host}: no address of that name ({error})") from None
        self.is_loopback = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
        # With its protocol: asyncio sends small parts at once (TCP_NODELAY) only where a socket says that it is TCP.
        self.socket = socket.socket(family, kind, protocol)
        try:
            # A port whose last owner has just ended is free.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(address)
            self.socket.listen(128)
        except (OSError, OverflowError) as error:
            self.socket.close()
            raise _error(host, port, error) from None

    @property
    def url(self) -> str:
        """Where it is reached."""
        name = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{name}:{self.socket.getsockname()[1]}"

    def host_names(self, allowed: Collection[str]) -> Collection[str] | None:
        """The names that requests may be for; None for any. ``allowed`` are names beside those of this machine."""
        if not allowed and not self.is_loopback:
            return None
        return {*LOOPBACK_NAMES, self._host.lower(), *(name.lower() for name in allowed)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def _error(host: str, port: int, error: Exception) -> BusyError | UsageError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return BusyError(f"{host}:{port} is in use by another program: stop it, or give another --port")
    return UsageError(f"cannot listen at {host}:{port} ({error}): give another --host or --port")
