"""An option that has no effect, on the model, on the data or beside the others, is refused where it is given."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Data, Dataset, from_array
from ganvas.errors import UserError
from ganvas.io.run_folder import RunFolder
from ganvas.model import Model, to_dict
from ganvas.training.loop import initialize_state, prepare_data, train
from tests.support.data import learnt_by
from tests.support.models import every_model, small
from tests.support.option_values import candidates

SAME = {"net", "top_k", "keep_discriminator"}
"""options of which another value may mean the same: mlp on vectors, and a share of four fakes; or that change a file"""
DATA: dict[str, Dataset] = {
    name: from_array(x, np.arange(12) % 2, classes=("a", "b"), name=name)
    for name, x in (
        ("images", np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)),
        ("vectors", np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)),
    )
}
QUIET: dict[str, Any] = {"steps": 1, "batch_size": 4, "quiet": True}


def trained(model: Model, data: Data) -> dict[str, Tensor]:
    """The networks after two steps; UserError where the options do not fit."""
    prepared, config = prepare_data(model, data), TrainConfig(steps=2, batch_size=4)
    model.validate_batch_size(4, prepared.shape)
    state = initialize_state(model, prepared.shape, 0, torch.device("cpu"), len(prepared.classes))
    for _ in train(model, prepared, config, state):
        pass
    return {name: t.clone() for name, t in state.nets.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", DATA)
@every_model
def test_an_option_alone_has_an_effect_unless_it_is_said_to_have_none(cls: type[Model], kind: str) -> None:
    model, hints = small(cls, pool_size=0), get_type_hints(cls, include_extras=True)
    data = learnt_by(cls, DATA[kind])
    try:
        usual = trained(model, data)
    except UserError:
        pytest.skip("not for such data")
    unused = set(model.ignored_options) | model.unused_options(data.shape).keys()
    for name, value in to_dict(model).items():
        has_effect = None
        for other in (v for v in candidates(hints[name]) if v != value):
            try:
                has_effect = not are_equal(usual, trained(replace(model, **dict[str, Any]({name: other})), data))
            except UserError:
                continue
            if has_effect:
                break
        if has_effect is not None and name not in SAME:
            assert has_effect == (name not in unused), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dcgan digits --augment-span 1000", "--augment-span 1000 has no effect without --augment-target: leave"),
        ("vae digits --rank 8", "--rank 8 has no effect without --posterior low-rank"),
        ("vae digits --depth 2", "--depth 2 has no effect without --net mlp"),
        ("vae digits --sigma 1 --likelihood squared-error", "--sigma 1.0 has no effect without --likelihood gaussian"),
        ("vae digits --lr-gamma 0.5", "--lr-gamma 0.5 has no effect without --lr-milestones"),
        ("vae digits --sweep rank=3,5", "--rank 3 has no effect without --posterior low-rank"),
        ("vae digits --seeds 2 --flow-steps 3", "--flow-steps 3 has no effect without --posterior iaf"),
        ("vae digits --init-from old --pseudo-inputs 9", "--pseudo-inputs 9 has no effect without --prior vamp"),
        ("r3gan digits --fourier-features 8", "--fourier-features 8 has no effect on images"),
        ("cyclegan ring grid --no-flip", "--no-flip has no effect on vectors"),
        ("discogan ring grid --reconstruct none --reconstruction-loss hinge", "has no effect with --reconstruct none"),
    ],
)  # fmt: skip
def test_what_is_given_without_effect_is_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "--init-from" in words:
        ganvas.train(ganvas.VAE(width=4, latent=2), "digits", folder="old", **QUIET)
    capsys.readouterr()
    assert main(["train", *words.split(), "--steps", "1", "--batch-size", "4", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_what_is_given_to_resume_without_effect_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    ganvas.train(ganvas.Autoencoder(width=4, latent=2), "digits", folder="run", **QUIET)
    config = RunFolder("run").read_config()  # what is wrong is said before data are read, which need not be there
    RunFolder("run").write_config(config | {"data": config["data"] | {"source": "/gone"}})
    for words in (["--patience", "3"], ["--lr-gamma", "0.5"]):
        assert main(["resume", "run", "--steps", "2", *words]) == 2
        assert f"{' '.join(words)} has no effect" in capsys.readouterr().err


def test_in_python_too_and_a_model_of_a_run_is_trained_again(images: Dataset) -> None:
    with pytest.raises(UserError, match="rank=9 has no effect without posterior=low-rank"):
        ganvas.train(replace(ganvas.VAE(width=4), rank=9), images, **QUIET)
    first = ganvas.train(ganvas.VAE(width=4, latent=2), images, lr_gamma=None, **QUIET)
    again = ganvas.train(first.model, images, **QUIET)
    assert again.model == first.model
    ganvas.train(ganvas.VAE(posterior="low-rank", rank=2, width=4, latent=2), images, **QUIET)
