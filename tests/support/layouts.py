"""Folders by their names."""

from pathlib import Path

from tests.support.folders import picture


def tree(root: Path, **many: int) -> Path:
    """Folders, their names with __ for /, and how many images each of them has; each image has a colour of its own."""
    level = 0
    for name, n in many.items():
        for i in range(n):
            level += 1
            picture(root / name.replace("__", "/") / f"{i}.png", level)
    return root
