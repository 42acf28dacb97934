"""Files of flows that were written before their hidden units had degrees: all that can be done with a run still can."""

from pathlib import Path

import torch
from torch import nn

import ganvas
from ganvas.data import Dataset
from ganvas.distributions.posteriors import MADE
from ganvas.io.safetensors import read_safetensors, write_safetensors


def as_before(file: Path) -> None:
    """Write the file without degrees."""
    header, tensors = read_safetensors(file)
    assert any(name.endswith("degrees") for name in tensors)
    write_safetensors(file, header, {name: t for name, t in tensors.items() if not name.endswith("degrees")})


def mades(net: nn.Module) -> list[MADE]:
    return [m for m in net.modules() if isinstance(m, MADE)]


def test_runs_with_a_flow_go_on_as_they_were(images: Dataset) -> None:
    model = ganvas.VAE(latent=3, width=4, posterior="iaf", flow_width=8)
    ganvas.train(model, images, steps=2, batch_size=8, folder="old", quiet=True)
    for name in ("weights.safetensors", "state.ckpt"):
        as_before(Path("old", name))
    old = torch.arange(8) % 2 + 1
    runs = {
        "loaded": ganvas.load("old"),
        "begun with": ganvas.train(model, images, steps=1, batch_size=8, folder="new", init_from="old", quiet=True),
        "begun with weights": ganvas.train(
            model, images, steps=1, batch_size=8, folder="newer", init_from="old/weights.safetensors", quiet=True
        ),
        "resumed": ganvas.resume("old", data=images, steps=4, quiet=True),
        "loaded again": ganvas.load("old"),
    }
    reference = MADE(3, 3, 8)
    reference.degrees.copy_(old)
    reference.set_masks()
    for name, run in runs.items():
        for net in mades(run.nets):
            assert torch.equal(net.degrees, old), name
            assert torch.equal(net.last.mask, reference.last.mask), name
    fresh = ganvas.train(model, images, steps=1, batch_size=8, folder="fresh", quiet=True)
    assert torch.equal(mades(fresh.nets)[0].degrees, torch.arange(8) % 3)
