"""The classifier whose features and labels benchmarks measure samples with: a LeNet trained on the real images."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganvas.data import Dataset
from ganvas.metrics.classes import label_accuracy


def make_lenet() -> nn.Sequential:
    """LeCun et al. (1998), with rectifiers and pooling by maxima, for grey images of 28 x 28 pixels; untrained."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def fit_lenet(train: Dataset, epochs: int, shift: int) -> nn.Sequential:
    """A trained one.  With `shift`, each batch moves by up to so many pixels, and the learning rate falls to 0."""
    net = make_lenet()
    adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    assert train.labels is not None
    for epoch in range(epochs):
        if shift:
            adam.param_groups[0]["lr"] = 2e-3 * (1 - epoch / epochs)
        for rows in torch.randperm(len(train)).split(128):
            x = train.x[rows] / 255
            if shift:
                x = x.roll(torch.randint(-shift, shift + 1, (2,)).tolist(), (2, 3))
            loss = nn.functional.cross_entropy(net(x), train.labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net


def load_lenet(out: Path, train: Dataset, epochs: int, shift: int = 0) -> nn.Sequential:
    """The classifier in OUT, or a new one, which is then kept there."""
    path = out / "lenet.safetensors"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        save_file(fit_lenet(train, epochs, shift).state_dict(), path)
    net = make_lenet()
    net.load_state_dict(load_file(path))
    return net.requires_grad_(False)


def forward(net: nn.Sequential, x: Tensor) -> Tensor:
    """The network's output for images with pixels 0 to 255; that of `net[:-1]` are the 84 features."""
    return torch.cat([net(part / 255) for part in x.split(500)])


def accuracy(net: nn.Sequential, test: Dataset) -> float:
    """Share of the test images whose label the network predicts."""
    assert test.labels is not None
    return label_accuracy(forward(net, test.x), test.labels)
