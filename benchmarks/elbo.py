"""Test ELBO of a VAE 784-400-20 on binarised MNIST after 20 epochs.

    python3 dev.py run python benchmarks/elbo.py ../shared/data/binarized_mnist_fixed.npz

The file holds the fixed binarisation of the literature (Larochelle & Murray, 2011), bits packed along the pixels.
Protocol: 50,000 images for training, 10,000 for testing, averaged (EMA) weights, one sample of z an image, mean
over ten passes of the test set, in nats; KL in closed form.
"""

import sys
import time

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch

from ganvas.data import Dataset, from_array
from ganvas.model import Batch

EPOCHS, PASSES = 20, 10


def bits(path: str, split: str) -> Dataset:
    packed = np.load(path)[f"bits_{split}"]
    return from_array(np.unpackbits(packed, axis=1).reshape(-1, 28, 28).astype(bool), name="binarised-mnist")


def test_elbo(trained: ganvas.Trained, data: Dataset) -> tuple[float, float]:
    """Mean ELBO and mean KL over the data, in nats."""
    vae = trained.model
    x = trained.domain_scaling()(data.x)
    torch.manual_seed(0)
    with torch.inference_mode():
        terms = [vae.elbo_terms(Batch(part), **trained.nets) for _ in range(PASSES) for part in x.split(1000)]
    reconstruction, kl = (torch.cat(part).mean().item() for part in zip(*terms, strict=True))
    return -(reconstruction + kl), kl


def main(path: str) -> None:
    train, test = bits(path, "train"), bits(path, "test")
    for posterior in ("diagonal", "full"):
        model = ganvas.VAE(latent=20, likelihood="bernoulli", posterior=posterior, net="mlp", width=400)
        began = time.monotonic()
        trained = ganvas.train(model, train, epochs=EPOCHS, batch_size=100, checkpoint_every=2000, quiet=True)
        seconds = time.monotonic() - began
        elbo, kl = test_elbo(trained, test)
        print(f"{posterior:<9} test ELBO {elbo:.2f} nats (KL {kl:.2f}) after {EPOCHS} epochs in {seconds:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
