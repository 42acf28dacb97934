"""Changes of the images that a VAE learns from: each image its own, and only in training."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.errors import UserError
from ganvas.model import Batch, Model
from ganvas.models import IWAE, VAE, BetaTCVAE, LadderVAE

SHAPE = (3, 16, 16)
X = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0))
BATCH = Batch(X, torch.arange(8) % 2, 8)
every_model = pytest.mark.parametrize(
    "model", [VAE(), IWAE(), BetaTCVAE(), LadderVAE()], ids=lambda m: type(m).__name__
)


def seen(model: Model, **options: Any) -> Tensor:
    """What the encoder is given in a step, with the same noise every time."""
    small = replace(model, width=4, **options)
    nets, inputs = small.networks(SHAPE, 2), list[Tensor]()
    nets["encoder"].register_forward_hook(lambda module, args, output: inputs.append(args[0].clone()))
    torch.manual_seed(0)
    next(small.step(iter([BATCH]), 0, **nets))
    return inputs[0]


@every_model
def test_the_images_of_a_step_are_changed_each_in_its_own_way(model: Model) -> None:
    assert torch.equal(seen(model), X)
    padded = torch.nn.functional.pad(X, (1, 1, 1, 1), mode="replicate")
    moves = [(i, j) for i in range(3) for j in range(3)]
    shifted = torch.stack([padded[:, :, i : i + 16, j : j + 16] for i, j in moves], 1)
    found = (seen(model, augment=("shift",))[:, None] == shifted).flatten(2).all(2)
    assert (found.sum(1) == 1).all()
    assert len(found.int().argmax(1).unique()) > 1
    flipped = seen(model, augment=("flip",))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(flipped, X, strict=True))
    assert not torch.equal(flipped, X)


@every_model
def test_nothing_is_changed_in_evaluation(model: Model) -> None:
    values = []
    for kinds in ((), ("shift", "flip")):
        torch.manual_seed(1)
        small: Any = replace(model, width=4, augment=kinds)
        nets = small.networks(SHAPE, 2)
        torch.manual_seed(2)
        nll, kl = small.elbo_terms(BATCH, **nets)
        values.append(torch.cat([nll, kl]))
    assert torch.equal(*values)


def test_a_run_has_them_from_the_command_line(images: Dataset) -> None:
    train = [
        "train",
        "vae",
        "digits",
        "--limit",
        "60",
        "--net",
        "conv",
        "--steps",
        "3",
        "--width",
        "4",
        "--batch-size",
        "8",
        "--folder",
    ]
    for folder, kinds in (("plain", []), ("shifted", ["--augment", "shift"])):
        assert main([*train, folder, *kinds]) == 0
    assert ganvas.load("shifted").model.augment == ("shift",)
    plain, shifted = (ganvas.load(folder).nets.state_dict() for folder in ("plain", "shifted"))
    assert any(not torch.equal(plain[name], shifted[name]) for name in plain)


def test_vectors_have_no_such_changes() -> None:
    with pytest.raises(UserError, match="augment=shift changes images, but ring holds vectors: leave it out"):
        ganvas.train(VAE(augment=("shift",)), "ring", steps=1, quiet=True)
