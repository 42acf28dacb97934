"""Every command that explores, on every model: a picture, or one sentence that says why there is none."""

from pathlib import Path

import pytest

import ganvas
from ganvas.cli.app import main
from ganvas.model import EncoderModel, GenerativeModel, Model
from tests.support.models import every_model

WIDTHS = {"width": 4, "blocks": 1}
COMMANDS: dict[str, list[str]] = {
    "a walk": ["interpolate", "run", "--rows", "2"],
    "a walk between examples": ["interpolate", "run", "pets", "--rows", "2"],
    "a traversal": ["traverse", "run"],
    "a traversal around an example": ["traverse", "run", "pets", "--example", "2"],
    "a plane": ["manifold", "run", "--side", "3"],
    "codes": ["manifold", "run", "--show-codes"],
    "arithmetic": ["arithmetic", "run", "pets", "--add", "cat", "--subtract", "dog", "--rows", "2"],
    "samples of the best prior": ["sample", "run", "--fitted-prior", "best"],
    "a fit": ["fit-prior", "run", "--kinds", "gaussian"],
}


def understood(command: str, model: Model) -> str | None:
    """What a refusal has to say, or None where there is a result."""
    if not isinstance(model, GenerativeModel):
        if command in ("a walk between examples", "a plane", "a walk", "samples of the best prior"):
            return "draws no examples from noise"
        return "has no encoder" if command in ("codes", "a fit") else "has no decoder"
    if isinstance(model, EncoderModel):
        return "no prior was fitted" if command == "samples of the best prior" else None
    return None if command in ("a walk", "a plane") else "has no encoder"


@every_model
def test_every_model_is_explored_or_says_why_not(
    cls: type[Model], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = cls(**{name: value for name, value in WIDTHS.items() if name in cls.__dataclass_fields__})
    data = (str(folder), str(folder)) if cls.n_domains == 2 else str(folder)
    ganvas.train(model, data, folder="run", steps=1, batch_size=4, quiet=True)
    for name, arguments in COMMANDS.items():
        capsys.readouterr()
        code, (out, err) = main(arguments), capsys.readouterr()
        wanted = understood(name, model)
        if wanted is None:
            assert code == 0, (name, err)
            assert name == "a fit" or Path(out.strip()).exists(), name
        else:
            assert code == 2, (name, out, err)
            assert wanted in err, name
            assert err.count("\n") == 1, name
            assert isinstance(model, EncoderModel) or "ganvas fit-prior" not in err, "which refuses"
