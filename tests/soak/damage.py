"""Damage to small files: to the whole, or to a part of it that is packed again, as a seed has it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

TOKENS = (
    b'"', b",", b"\n", b"\r", b"\0", b";", b"{", b"[" * 2000, b"NaN", b"1e999", b"-1", b"9" * 400, b"../../x",
    b"-" * 9000, b"/x.png", b"\xff\xfe", b"\xef\xbb\xbf", b"true", b"null", b"\\u0000", b"%s", b"\xed\xa0\x80",
)  # fmt: skip
VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    "\0",
    [],
    [[]],
    {},
)
EXTREMES = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


@dataclass(frozen=True)
class Input:
    """A file by name, as parts and what packs them."""

    name: str
    parts: Sequence[bytes]
    pack: Callable[[Sequence[bytes]], bytes]

    def damaged(self, random: Random, other: bytes) -> bytes:
        """With one of its parts damaged and the rest as it is, or as a whole; pieces of `other` may be put in."""
        parts = list(self.parts)
        if random.random() < 0.6:
            i = random.randrange(len(parts))
            parts[i] = damage(parts[i], random, other)
            return self.pack(parts)
        return damage(self.pack(parts), random, other)


def damage(content: bytes, random: Random, other: bytes) -> bytes:
    """Values of JSON changed, or bytes: flipped, set to extremes, cut off, left out, repeated or put in."""
    if content[:1] in (b"{", b"[") and random.random() < 0.7:
        lines = content.splitlines()
        i = random.randrange(len(lines)) if all(line[:1] == b"{" for line in lines) else None
        try:
            if i is None:
                return damage_json(content, random)
            lines[i] = damage_json(lines[i], random)
            return b"\n".join(lines) + b"\n"
        except ValueError:
            pass
    made = bytearray(content)
    for _ in range(random.randint(1, 3)):
        at, n = random.randrange(max(1, len(made))), random.choice((1, 2, 4, 8, 64))
        match random.randrange(9):
            case 0:
                made[at : at + 1] = bytes(b ^ (1 << random.randrange(8)) for b in made[at : at + 1])
            case 1:
                made[at : at + n] = random.randbytes(len(made[at : at + n]))
            case 2 | 3:  # lengths
                size = random.choice((1, 2, 4, 8))
                number = random.choice((*EXTREMES, len(content), len(content) + 1)) % 256**size
                made[at : at + size] = number.to_bytes(size, random.choice(("little", "big")))
            case 4:
                del made[at:]
            case 5:
                del made[at : at + n]
            case 6:
                made[at:at] = made[at : at + n] * random.choice((1, 1, 50))
            case 7:
                start = random.randrange(max(1, len(other)))
                made[at:at] = other[start : start + n]
            case _:
                made[at:at] = random.choice(TOKENS)
    return bytes(made)


def damage_json(text: bytes, random: Random) -> bytes:
    """A value somewhere in it changed, left out, or under another name; ValueError where it is no JSON."""
    values = json.loads(text)
    holders: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict | list) and value:
            holders.append(value)
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)

    collect(values)
    if not holders:
        return json.dumps(random.choice(VALUES)).encode()
    holder = random.choice(holders)
    key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
    how = random.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[key + "x"] = holder.pop(key)
    elif how == 2:
        holder[key] = [holder[key]]
    else:
        holder[key] = random.choice(VALUES)
    return json.dumps(values).encode()


def whole(name: str, content: bytes) -> Input:
    return Input(name, [content], lambda parts: parts[0])
