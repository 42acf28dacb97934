"""The command line in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganvas.cli.app import main

SMALL = ["--steps", "6", "--batch-size", "4", "--width", "4", "--checkpoint-every", "3"]


TINY = [*SMALL, "--latent", "3"]


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command that must end with an exit code prints on stdout."""
    capsys.readouterr()
    assert main(list(arguments)) == code, capsys.readouterr().err
    return capsys.readouterr().out.strip()


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    return json.loads(said(capsys, *arguments, "--json", code=code))


def size(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
