"""Small classifiers of 28 x 28 grey images, whose last hidden layer is a space to compare such images in.

Trained by benchmarks/train_classifiers.py on the training images of MNIST and of Fashion-MNIST.
"""

from collections.abc import Callable
from importlib.resources import files

import torch
from safetensors.torch import load
from torch import nn

from ...data.builtin import FASHION_CLASSES
from .base import FeatureSpace, weights_digest

N_FEATURES = 84
"""units of the last hidden layer"""
MNIST, FASHION = "lenet-mnist-v1", "lenet-fashion-v1"


def lenet() -> nn.Sequential:
    """LeNet-5 with rectifiers and pooling by maxima, for digits: (b, 1, 28, 28) -> (b, 10) logits.

    LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998.
    """
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, N_FEATURES), nn.ReLU(), nn.Linear(N_FEATURES, 10),
    )  # fmt: skip


def double_lenet() -> nn.Sequential:
    """The same with two 3 x 3 convolutions for each of its own, for clothes, which are harder to classify."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, N_FEATURES), nn.ReLU(), nn.Linear(N_FEATURES, 10),
    )  # fmt: skip


LENETS: dict[str, tuple[str, tuple[str, ...], Callable[[], nn.Sequential]]] = {
    MNIST: ("mnist", tuple("0123456789"), lenet), FASHION: ("fashion-mnist", FASHION_CLASSES, double_lenet),
}  # fmt: skip
"""of each classifier the data set that it was trained on, its classes, and its network"""


def lenet_features(name: str, device: torch.device) -> FeatureSpace:
    """The last hidden layer of one of the classifiers, whose weights are in the package."""
    data, classes, build = LENETS[name]
    content, net = (files("ganvas") / "assets" / f"{name}.safetensors").read_bytes(), build()
    net.load_state_dict({key: weight.float() for key, weight in load(content).items()})
    digest = weights_digest(net.state_dict())
    net.to(device).eval().requires_grad_(False)
    protocol = f"pixels / 255, the {N_FEATURES} units below the logits of a classifier of {data}"
    return FeatureSpace(
        name, N_FEATURES, protocol, lambda x: net[:-1](x / 255), digest, device=device, head=net[-1], classes=classes
    )
