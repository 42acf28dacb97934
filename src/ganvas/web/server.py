"""The socket on which the studio listens."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on which somebody can call; UserError where the address cannot be had."""
    if not 0 <= port < 65536:
        raise UserError(f"port={port} is no port: give one from 1024 to 65535, or 0 for any that is free")
    try:
        opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number).lower() if number > 0 else str(error.strerror)
        raise UserError(f"port={port} of {host} cannot be had ({reason}): give another one") from error
    with opened:
        yield opened
