"""`ganvas cache`: images that were decoded once, what they take, and how to be rid of them."""

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from ..data import decoded
from ..data.memory import format_bytes
from .app import print_result
from .common import FLAG, Json


def cache(
    *, clear: Annotated[bool, FLAG, Parameter(help="remove them, but for those in use or of others")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """List the decoded images that are kept in the cache, the least recently used first, or remove them."""
    folder, limit, lines = decoded.folder(), decoded.limit(), list[str]()
    removals, rest = decoded.clear() if clear else [], [*decoded.entries(decoded.PARTS), *decoded.entries()]
    rows = [decoded.describe(entry) for entry in rest]
    size = sum(entry.size for entry in rest)
    for row in rows:
        used = datetime.fromtimestamp(row["used"]).astimezone().isoformat(" ", "minutes")[:16]
        shape = " x ".join(map(str, [row["examples"], *row["shape"]]))
        lines.append(f"{used}  {format_bytes(row['bytes']):>9}  {shape}  {row['source']}")
    if clear:
        others = f"; in use, or of another user: {len(rest)}" * bool(rest)
        lines.append(f"removed {format_bytes(sum(entry.size for entry in removals))}{others}")
    what = (
        f"{len(rest)} {'entry' if len(rest) == 1 else 'entries'}, {format_bytes(size)} of {format_bytes(limit)} at most"
    )
    lines.append(f"{folder}: {what}")
    report = {"folder": str(folder), "bytes": size, "limit": limit, "entries": rows}
    print_result(lines, report | {"removed": [entry.path.name for entry in removals]}, json)
