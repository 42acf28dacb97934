"""Signals and volumes through every model: sizes, units, and what is for images alone."""

from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import DomainPair, from_array
from ganvas.errors import UserError
from ganvas.model import Model
from ganvas.nn import decoder, encoder
from ganvas.nn.conv import feature_map_shapes
from tests.support.data import NUMBER_SHAPES, number_collection
from tests.support.models import after_a_step, every_model, small

every_kind = pytest.mark.parametrize("kind", list(NUMBER_SHAPES))


@every_kind
@every_model
def test_samples_and_translations_have_the_units_of_the_data(cls: type[Model], kind: str) -> None:
    if cls is ganvas.CUT:
        return
    model, a = small(cls), number_collection(kind, 24)
    parts = [a, from_array(5 - a.x.double().numpy(), name="others", kind=kind[:-1])]  # type: ignore[arg-type]
    data = DomainPair(*parts) if cls.n_domains == 2 else a
    model.validate_data(data)
    trained = after_a_step(model, data)
    made = trained.translate(a) if cls.n_domains == 2 else trained.sample(5)
    numbers, target = made.numpy(), parts[-1] if cls.n_domains == 2 else a
    assert numbers.shape[1:] == NUMBER_SHAPES[kind]
    assert numbers.dtype == np.dtype(target.source_dtype)
    axes = (0, *range(2, numbers.ndim))
    assert (numbers.min(axes) >= target.x.numpy().min(axes) - 1e-3).all()
    assert (numbers.max(axes) <= target.x.numpy().max(axes) + 1e-3).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 101), (1, 8, 1, 3), (2, 17, 8, 9)])
@pytest.mark.parametrize("net", ["conv", "spatial"])
def test_networks_take_any_length(net: Any, shape: tuple[int, ...]) -> None:
    places = int(np.prod(feature_map_shapes(shape, 4, 16)[-1][1:]))
    codes = 3 * places if net == "spatial" else 3
    x = torch.randn(2, *shape)
    z = encoder(net, shape, codes, 4, 1, norm="batch")(x)
    assert z.shape == (2, codes)
    assert decoder(net, codes, shape, 4, 1, norm="batch")(z).shape == x.shape


@every_kind
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ganvas.DCGAN(net="resize"), "net=resize needs images, but the data are {}: use net=conv"),
        (ganvas.WGAN(net="residual"), "net=residual needs images, but the data are {}: use net=conv"),
        (ganvas.DCGAN(augment=("shift",)), "augment=shift changes images, but {} holds {}: leave it out"),
        (ganvas.VAE(augment=("flip",)), "augment=flip changes images, but {} holds {}: leave it out"),
        (ganvas.VAE(likelihood="bernoulli"), "which are neither bits nor 256 levels"),
        (ganvas.CUT(), "cut compares places of images, but the data are {}: train cyclegan or discogan"),
    ],
)
def test_what_is_for_images_is_refused(model: Model, message: str, kind: str) -> None:
    data: Any = number_collection(kind)
    data = DomainPair(data, data) if model.n_domains == 2 else data
    with pytest.raises(UserError, match=message.replace("{}", kind)):
        model.validate_data(data)


@every_kind
def test_critics_and_translators_take_domains_of_different_sizes(kind: str) -> None:
    a, b = NUMBER_SHAPES[kind], (3, *(n + 4 for n in NUMBER_SHAPES[kind][1:]))
    nets = ganvas.CycleGAN(width=4, blocks=1).networks((a, b))
    fake = nets["G"](torch.randn(2, *a))
    assert fake.shape == (2, *b)
    assert nets["DY"](fake).shape[:2] == (2, 1)
    assert nets["F"](fake).shape == (2, *a)
