"""Commands that fail with one sentence."""

import re

import pytest

from ganvas.cli.app import main


def failing(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str) -> str:
    """Run a command that must fail; returns what it said."""
    capsys.readouterr()
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("ganvas:")]) == 1
    return err
