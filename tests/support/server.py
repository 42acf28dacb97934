"""A server on this machine, from which tests download."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(folder: Path, failures: int = 0, damaged: int = 0) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of a folder's files, and what it was asked for.

    It first answers so many times that it is busy, and then as many times with another file.
    """
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) <= failures:
                self.send_error(503, "Busy")
            elif len(asked) <= failures + damaged:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"damaged")
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
