"""Files from the network: fetched by pooch, kept in the cache, and only if their SHA-256 is the published one.

The network is asked only where the user names a data set or weights that lie nowhere on the machine.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError, first_line, write_error

RETRIES, TIMEOUT = 2, 30
"""times that an address is tried again, after 1 s, then 2 s; seconds of silence after which a server is given up"""


def cache_dir() -> Path:
    """Where downloads are kept: $GANVAS_CACHE, or ganvas in $XDG_CACHE_HOME or ~/.cache; UserError without a home."""
    if folder := os.environ.get("GANVAS_CACHE"):
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ganvas")
    except RuntimeError as error:
        raise UserError("there is no home folder to keep files in: say where by GANVAS_CACHE=FOLDER") from error


@dataclass
class DownloadProgress:
    """A download's line on a terminal, in percent; pooch calls it."""

    name: str
    total: int = 0  # bytes, 0 where the server does not say
    done: int = 0

    def update(self, n: int) -> None:
        self.done += n
        if sys.stderr.isatty() and self.total:
            print(f"\r{self.name}: {min(100, 100 * self.done // self.total)}%", end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        if sys.stderr.isatty() and self.total:
            print(file=sys.stderr)


def download(path: Path, digest: str, urls: Sequence[str], what: str, remedy: str) -> Path:
    """The file with this SHA-256, in hexadecimal: what is there, or what the first of the addresses that has it sends.

    UserError, with `remedy`, where no address has it: `what` could not be downloaded.
    """
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("ERROR")  # the lines here say it
    failures = []
    for url in urls:
        files = pooch.create(path.parent, "", registry={path.name: f"sha256:{digest}"}, urls={path.name: url},
                             retry_if_failed=RETRIES)  # fmt: skip
        get = pooch.HTTPDownloader(
            DownloadProgress(path.name), timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        )
        try:
            if is_new := not path.exists():
                print(f"downloading {url}", file=sys.stderr)
            files.fetch(path.name, downloader=get)
            if is_new:  # pooch leaves it to its owner: whoever may read the folder may read it, nobody else change it
                path.chmod(path.parent.stat().st_mode & 0o644)
            return path
        except (RequestException, ValueError) as error:  # pooch raises ValueError for another SHA-256
            failures.append(f"{url}: {failure_reason(error)}")
        except OSError as error:
            raise write_error(path, error) from error
    raise UserError(f"{what} could not be downloaded ({'; '.join(failures) or 'from nowhere'}): {remedy}")


def failure_reason(error: Exception) -> str:
    """Why a download failed, in a few words: a library's own sentence names its classes and sockets."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, exceptions.Timeout):
        return f"no answer within {TIMEOUT} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, exceptions.ConnectionError):
        return "no connection"
    return "wrong checksum" if type(error) is ValueError else first_line(error)
