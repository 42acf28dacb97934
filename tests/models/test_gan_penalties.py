"""Penalties on D's gradient, as its own turn has them, against NumPy in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganvas.data import Dataset, Stream
from ganvas.model import Move
from ganvas.models import CGAN, DCGAN, GAN, R3GAN, WGANGP
from ganvas.models._gan import Adversarial, ConfigurableGAN
from ganvas.nn.device import autocast
from ganvas.objectives.penalties import gradient_penalty, squared_gradients

Array = np.ndarray
CPU = torch.device("cpu")
WEIGHTS = {"gp": 10.0, "r1": 3.0, "r2": 0.7}


def examples(*shape: int) -> tuple[Tensor, Tensor]:
    """Real and fake examples in float64, of quite different sizes, so that norms over batch or pixels would show."""
    random = np.random.default_rng(0)
    size = np.linspace(0.3, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return torch.tensor(size * random.normal(size=shape)), torch.tensor(size * random.normal(size=shape))


def move_of(gan: Adversarial, D: nn.Module, x: Tensor, fake: Tensor, done: int = 0) -> Move:
    """D's move in the step after `done` others."""
    penalties = gan.penalties(done) if isinstance(gan, ConfigurableGAN) else gan.objective.penalties
    return gan.discriminator_move(D, x, fake, **penalties)


def terms_of(gan: Adversarial, D: nn.Module, x: Tensor, fake: Tensor, done: int = 0) -> dict[str, Tensor]:
    """D's penalties in its turn; the shares of the gradient penalty are those of seed 1."""
    torch.manual_seed(1)
    terms = move_of(gan, D, x, fake, done).terms
    return {name: terms[name] for name in WEIGHTS if name in terms}


def points(x: Tensor, fake: Tensor) -> Array:
    """Where the gradient penalty of seed 1 looks: one share an example."""
    torch.manual_seed(1)
    share = torch.rand(len(x), *[1] * (x.ndim - 1), dtype=x.dtype).numpy()
    return (1 - share) * x.numpy() + share * fake.numpy()


def expected(slope: Callable[[Array], Array], x: Tensor, fake: Tensor) -> dict[str, float]:
    """The penalties of a D whose gradient at a point, flattened, is `slope`."""
    norms = {name: np.array([np.linalg.norm(slope(u.ravel())) for u in us]) for name, us in (
        ("gp", points(x, fake)), ("r1", x.numpy()), ("r2", fake.numpy()))}  # fmt: skip
    of = {"gp": lambda n: ((n - 1) ** 2).mean(), "r1": lambda n: (n**2).mean() / 2, "r2": lambda n: (n**2).mean() / 2}
    return {name: WEIGHTS[name] * of[name](n) for name, n in norms.items()}


def numerically(f: Callable[[], dict[str, float]], weights: Array, name: str) -> Array:
    """Central differences of one penalty by weights that `f` looks at."""
    slopes = np.zeros_like(weights)
    for index in np.ndindex(weights.shape):
        kept = weights[index]
        weights[index] = kept + 1e-5
        above = f()[name]
        weights[index] = kept - 1e-5
        slopes[index] = (above - f()[name]) / 2e-5
        weights[index] = kept
    return slopes


GP_R1_R2 = GAN(gp=10.0, r1=3.0, r2=0.7)


def test_the_penalties_of_a_linear_critic_are_functions_of_its_weights_norm() -> None:
    """gp (|w| - 1)^2, by w 2 gp (|w| - 1) w / |w|; r |w|^2 / 2, by w r w: for images the norm over all their pixels."""
    for shape in ((5, 6), (5, 3, 4, 2)):
        D = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape[1:])), 1)).double()
        w = D[1].weight.detach().numpy()[0]
        norm = np.linalg.norm(w)
        found = terms_of(GP_R1_R2, D, *examples(*shape))
        closed = {"gp": (10 * (norm - 1) ** 2, 20 * (norm - 1) * w / norm)}
        closed |= {name: (WEIGHTS[name] * norm**2 / 2, WEIGHTS[name] * w) for name in ("r1", "r2")}
        for name, (value, gradient) in closed.items():
            assert found[name].item() == pytest.approx(value, rel=1e-10)
            (by_weight,) = torch.autograd.grad(found[name], D[1].weight, retain_graph=True)
            np.testing.assert_allclose(by_weight[0].numpy(), gradient, rtol=1e-9)


class Quadratic(nn.Module):
    """D(x) = |A x|^2 / 2, whose gradient is A' A x."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(n, n).double() / 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = (x.flatten(1) @ self.a.T).square().sum(1, keepdim=True) / 2
        return logits


@pytest.mark.parametrize("shape", [(5, 6), (5, 3, 2, 1)])
def test_the_penalties_of_a_quadratic_critic_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    x, fake = examples(*shape)
    D = Quadratic(6)
    a = D.a.detach().numpy().copy()

    def reference() -> dict[str, float]:
        return expected(lambda u: a.T @ a @ u, x, fake)

    found = terms_of(GP_R1_R2, D, x, fake)
    assert {k: v.item() for k, v in found.items()} == pytest.approx(reference(), rel=1e-9)
    for name, term in found.items():
        (gradient,) = torch.autograd.grad(term, D.a, retain_graph=True)
        np.testing.assert_allclose(gradient.numpy(), numerically(reference, a, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (4, 1, 2, 3)])
def test_the_penalties_of_a_hidden_layer_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    """D(x) = v tanh(W x + b): the gradient is W' (v (1 - tanh^2)), and both layers learn from the penalty."""
    x, fake = examples(*shape)
    D = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    w, b, v = (p.detach().numpy().copy() for p in list(D.parameters())[:3])

    def reference() -> dict[str, float]:
        return expected(lambda u: w.T @ (v[0] * (1 - np.tanh(w @ u + b) ** 2)), x, fake)

    found = terms_of(GP_R1_R2, D, x, fake)
    assert {k: t.item() for k, t in found.items()} == pytest.approx(reference(), rel=1e-9)
    for name, term in found.items():
        by_layer = torch.autograd.grad(term, list(D.parameters())[:3], retain_graph=True)
        for gradient, weights in zip(by_layer, (w, b, v), strict=True):
            np.testing.assert_allclose(gradient.numpy(), numerically(reference, weights, name), rtol=1e-4, atol=1e-6)


def test_each_example_has_one_point_of_its_own_on_the_segment() -> None:
    x, fake = torch.rand(64, 3, 4, 4), torch.rand(64, 3, 4, 4) + 2
    seen: list[Tensor] = []
    D = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    D.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    gradient_penalty(D, x, fake)
    share = ((seen[0] - x) / (fake - x)).flatten(1)
    assert (share.max(1).values - share.min(1).values).max() < 1e-5
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1
    assert len(share[:, 0].unique()) == 64
    assert share.mean().item() == pytest.approx(0.5, abs=0.1)


def test_the_fakes_are_where_the_penalty_looks_and_not_what_it_moves() -> None:
    G, D = nn.Linear(3, 6), nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
    penalty = gradient_penalty(D, torch.rand(5, 6), G(torch.randn(5, 3)))
    assert torch.autograd.grad(penalty, list(G.parameters()), allow_unused=True) == (None, None)


@pytest.mark.parametrize(
    ("gan", "penalties"),
    [
        (WGANGP(width=4, latent=3), {"gp"}), (R3GAN(width=4, latent=3), {"r1", "r2"}),
        (CGAN(width=4, latent=3, r1=1.0, r2=1.0, gp=1.0), {"gp", "r1", "r2"}),
    ],
    ids=["wgangp", "r3gan", "cgan"],
)  # fmt: skip
def test_no_gradient_reaches_the_generator_in_the_discriminators_turn(
    gan: Adversarial, penalties: set[str], images: Dataset
) -> None:
    nets = gan.networks(images.shape, 5)
    move = next(gan.step(Stream(images, batch=8, seed=0), 0, **nets))
    assert penalties == move.terms.keys() & set(WEIGHTS)
    move.loss.backward()
    assert all(p.grad is None for p in nets["G"].parameters())
    # the bias of D's last layer cancels in differences of logits
    assert all(p.grad is not None for p in nets["D"].parameters())


def test_where_the_gradient_is_zero_the_penalty_has_a_gradient_and_no_nan() -> None:
    D = nn.Sequential(nn.Linear(6, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))
    for p in D.parameters():
        nn.init.zeros_(p)
    x, fake = torch.rand(2, 5, 6)
    terms = terms_of(GP_R1_R2, D, x, fake)
    assert {k: t.item() for k, t in terms.items()} == pytest.approx({"gp": 10.0, "r1": 0.0, "r2": 0.0})
    gradients = torch.autograd.grad(sum(terms.values(), torch.zeros(())), list(D.parameters()), allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in gradients)


def test_lazy_penalties_come_every_so_many_steps_and_weigh_so_many_times_as_much() -> None:
    D = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, fake = examples(5, 6)
    lazy = GAN(gp=10.0, r1=3.0, r2=0.7, penalty_interval=4)
    each = [terms_of(lazy, D, x, fake, done) for done in range(8)]
    always = terms_of(GP_R1_R2, D, x, fake)
    assert [set(terms) for terms in each] == 2 * [set(WEIGHTS), set(), set(), set()]
    for name in WEIGHTS:
        assert each[4][name].item() == pytest.approx(4 * always[name].item())


def test_a_penalty_of_weight_0_is_not_computed(images: Dataset) -> None:
    D = GAN(net="mlp", width=4).networks(images.shape)["D"]
    calls: list[int] = []
    D.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    x = torch.rand(8, *images.shape)
    for fields, names, passes in (({}, set(), 1), ({"r1": 1.0}, {"r1"}, 1), ({"gp": 1.0}, {"gp"}, 2)):
        calls.clear()
        assert terms_of(GAN(**fields), D, x, x).keys() == names
        assert len(calls) == passes


DISCRIMINATORS: dict[str, tuple[Adversarial, tuple[int, ...]]] = {
    "mlp": (GAN(width=32), (6,)),
    "mlp of images": (GAN(width=32), (3, 8, 8)),
    "mlp, layer norm": (GAN(width=32, norm_d="layer"), (6,)),
    "mlp, silu": (GAN(width=32, activation_d="silu"), (6,)),
    "mlp, maxout": (GAN(width=16, activation_d="maxout"), (6,)),
    "mlp, spectral norm": (GAN(width=32, spectral_norm=True), (6,)),
    "conv": (DCGAN(width=8, norm_d="none"), (3, 16, 12)),
    "conv, layer norm": (DCGAN(width=8, norm_d="layer"), (3, 16, 12)),
    "conv, spectral norm": (DCGAN(width=8, norm_d="none", spectral_norm=True), (1, 16, 16)),
    "conv, both": (DCGAN(width=8, norm_d="layer", spectral_norm=True), (1, 16, 16)),
}
every_discriminator = pytest.mark.parametrize(("gan", "shape"), DISCRIMINATORS.values(), ids=list(DISCRIMINATORS))


def learned(gan: Adversarial, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """A discriminator that has learnt for 20 steps to tell bright from dark examples, and some of both."""
    D = gan.networks(shape)["D"]
    x, fake = torch.rand(2, 16, *shape) + torch.tensor([[0.3], [-0.8]]).view(2, *[1] * (len(shape) + 1))
    optimizer = torch.optim.Adam(D.parameters(), lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        move_of(gan, D, x, fake, 0).loss.backward()
        optimizer.step()
    return D.eval(), x, fake


@every_discriminator
def test_penalties_in_bfloat16_agree_with_float32(gan: Adversarial, shape: tuple[int, ...]) -> None:
    """A turn with penalties is in float32, whatever the rest is: with the eight bits of bfloat16 R1 was off by 2%."""
    D, x, fake = learned(gan, shape)
    found: list[dict[str, float]] = []
    for precision in ("float32", "bfloat16"):
        with autocast(precision, CPU):
            terms = terms_of(GP_R1_R2, D, x, fake)
            assert all(t.dtype == torch.float32 for t in terms.values())
            gradients = torch.autograd.grad(sum(terms.values(), torch.zeros(())), D.parameters(), allow_unused=True)
        assert all(g is None or (g.isfinite().all() and g.dtype == torch.float32) for g in gradients)
        found.append({name: t.item() for name, t in terms.items()})
    assert found[1] == pytest.approx(found[0], rel=1e-2)


@every_discriminator
def test_penalties_can_be_learnt_from(gan: Adversarial, shape: tuple[int, ...]) -> None:
    """The second derivative, of every kind of layer, against differences of the penalty along a direction."""
    D, x, fake = learned(gan, shape)
    D, x, fake = D.double(), x.double(), fake.double()
    weights = list(D.parameters())
    total = sum(terms_of(GP_R1_R2, D, x, fake).values(), torch.zeros(()))
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    direction = [torch.randn_like(w) for w in weights]
    along = sum(((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None), torch.zeros(()))
    values: list[float] = []
    for size in (1e-8, -2e-8):
        with torch.no_grad():
            torch._foreach_add_(weights, direction, alpha=size)
        values.append(sum(t.item() for t in terms_of(GP_R1_R2, D, x, fake).values()))
    assert abs(along) > 1e-3
    assert along.item() == pytest.approx((values[0] - values[1]) / 2e-8, rel=1e-3)


def test_squared_gradients_are_float32_at_least(vectors: Dataset) -> None:
    for dtype, expected_dtype in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        D, x = nn.Linear(3, 1).to(dtype), torch.rand(4, 3, dtype=dtype, requires_grad=True)
        squared: Any = squared_gradients(D(x), x)
        assert squared.dtype == expected_dtype
        torch.testing.assert_close(squared, D.weight.to(expected_dtype).square().sum().expand(4))
