"""Networks for vectors work in units of the data, and D sees Fourier features."""

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import Collection, from_array
from ganvas.nets.vectors import Fourier, Restored, Standardized, Units
from ganvas.training import begin, precisely, take_units

SMALL = ganvas.R3GAN(latent=3, width=8, depth=2, fourier=5)


def skewed() -> Collection:
    x = np.random.default_rng(0).normal(size=(60, 3)) * [0.01, 1, 300] + [5, 0, -1000]
    return from_array(x.astype(np.float32), name="skewed")


def test_units_are_the_means_and_deviations_of_the_data() -> None:
    x = skewed().x
    to, back = Standardized(3), Restored(3)
    assert torch.equal(to(x), x)
    for layer in (to, back):
        layer.of(x)
    torch.testing.assert_close(to(x).mean(0), torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(to(x).std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(back(to(x)), x)


def test_a_number_that_never_changes_keeps_its_own_unit() -> None:
    units = Standardized(2)
    units.of(torch.tensor([[3.0, 1.0], [3.0, 5.0]]))
    assert units(torch.tensor([[4.0, 3.0]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fourier_features_are_sines_and_cosines_of_projections(precision: str) -> None:
    layer, x = Fourier(2, 4, 3.0), 3 * torch.randn(7, 2)
    with precisely(precision, torch.device("cpu")):
        seen = layer(x).numpy()
    phase = x.numpy().astype(np.float64) @ layer.frequencies.numpy().astype(np.float64)
    np.testing.assert_allclose(seen, np.concatenate([x, np.sin(phase), np.cos(phase)], 1), atol=1e-5)


def test_frequencies_have_the_deviation_that_is_asked_for() -> None:
    assert Fourier(10, 1000, 3.0).frequencies.std().item() == pytest.approx(3.0, rel=0.05)


def test_a_run_takes_the_units_of_its_data_in_what_is_trained_and_in_what_is_kept() -> None:
    data = skewed()
    state = begin(SMALL, data.shape, 0, torch.device("cpu"))
    take_units(state, data)
    for nets in (state.nets, state.average):
        (restored,) = (m for m in nets["G"].modules() if isinstance(m, Units))
        torch.testing.assert_close(restored.mean, data.x.mean(0))
    (standardized,) = (m for m in state.nets["D"].modules() if isinstance(m, Units))
    torch.testing.assert_close(standardized.std, data.x.std(0, correction=0))
    made = ganvas.train(SMALL, data, steps=1, batch=8, quiet=True).sample(500).x
    assert (made.mean(0) - data.x.mean(0)).abs().lt(data.x.std(0)).all(), "samples begin where the data are"


def test_packed_examples_have_the_units_of_each() -> None:
    data = skewed()
    state = begin(ganvas.R3GAN(latent=3, width=8, pack=2), data.shape, 0, torch.device("cpu"))
    take_units(state, data)
    (units,) = (m for m in state.nets["D"].modules() if isinstance(m, Units))
    torch.testing.assert_close(units.mean, data.x.mean(0).repeat(2))


def test_units_come_back_with_the_weights_and_on_resume() -> None:
    data = skewed()
    whole = ganvas.train(SMALL, data, steps=6, batch=8, every=3, folder="whole", quiet=True)
    ganvas.train(SMALL, data, steps=3, batch=8, every=3, folder="half", quiet=True)
    half = ganvas.resume("half", steps=6, data=data, quiet=True)
    assert torch.equal(whole.sample(9).x, half.sample(9).x)
    assert torch.equal(ganvas.load("whole").sample(9).x, whole.sample(9).x)


def test_what_is_learnt_does_not_depend_on_the_units_of_the_data() -> None:
    """Without penalties, which are in units of the data: samples for 8 x + 16 are 8 times those for x, plus 16."""
    model = ganvas.R3GAN(latent=3, width=8, r1=0, r2=0)
    data = from_array(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), name="vectors")
    scaled = from_array(data.x * 8 + 16, name="scaled")
    a, b = (ganvas.train(model, d, steps=5, batch=8, quiet=True, keep="last").sample(20).x for d in (data, scaled))
    torch.testing.assert_close(b, a * 8 + 16, rtol=1e-3, atol=1e-2)
