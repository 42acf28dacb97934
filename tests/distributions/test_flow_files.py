"""Files of flows that were written before their hidden units had degrees: all that can be done with a run still can."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import ganvas
from ganvas.data import Dataset
from ganvas.distributions.posteriors import MADE


def as_before(file: Path) -> None:
    """Write the file without degrees."""
    with safe_open(file, "pt") as opened:
        header, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert any(name.endswith("degrees") for name in tensors)
    assert json.loads(header["ganvas"])
    save_file({name: t.clone() for name, t in tensors.items() if not name.endswith("degrees")}, file, header)


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
