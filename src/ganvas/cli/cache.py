"""`ganvas cache`: images that were decoded once, what they take, and how to be rid of them."""

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from ..data import decoded
from ..data.memory import format_bytes
from .app import print_result
from .common import FLAG, Json


def cache(
    *, clear: Annotated[bool, FLAG, Parameter(help="remove them, but for those that are in use")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """List the decoded images that are kept in the cache, the least recently used first, or remove them."""
    folder, limit, lines = decoded.folder(), decoded.limit(), list[str]()
    removed, kept = decoded.clear() if clear else ([], decoded.entries())
    rows = [decoded.describe(entry) for entry in kept]
    size = sum(entry.size for entry in kept)
    for row in rows:
        used = datetime.fromtimestamp(row["used"]).astimezone().isoformat(" ", "minutes")[:16]
        shape = " x ".join(map(str, [row["examples"], *row["shape"]]))
        lines.append(f"{used}  {format_bytes(row['bytes']):>9}  {shape}  {row['source']}")
    if clear:
        lines.append(
            f"removed {format_bytes(sum(entry.size for entry in removed))}" + f"; in use: {len(kept)}" * bool(kept)
        )
    what = (
        f"{len(kept)} {'entry' if len(kept) == 1 else 'entries'}, {format_bytes(size)} of {format_bytes(limit)} at most"
    )
    lines.append(f"{folder}: {what}")
    report = {"folder": str(folder), "bytes": size, "limit": limit, "entries": rows}
    print_result(lines, report | {"removed": [entry.path.name for entry in removed]}, json)
