"""Algorithm 1 of the GAN paper, checked by recording its moves, and what may be added to it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset, Stream
from ganvas.errors import UserError
from ganvas.model import Batch, Move
from ganvas.models import CGAN, DCGAN, GAN, R3GAN, WGAN, WGANGP
from ganvas.models._gan import Adversarial, clip_weights, confidence, logits
from ganvas.nn.device import autocast
from ganvas.nn.discriminator import ProjectionDiscriminator, WithoutAutocast, add_spectral_norm
from ganvas.objectives.adversarial import Loss, discriminator_terms, generator_loss
from ganvas.objectives.penalties import squared_gradients
from ganvas.training import checkpoint
from ganvas.training.loop import apply_move, get_optimizer, initialize_state, lr_factor, train

CPU = torch.device("cpu")


def recorded(
    gan: Adversarial, data: Dataset
) -> tuple[list[str], list[Tensor], list[Batch], list[Move], dict[str, nn.Module]]:
    """One step's moves in order, the noise given to G, the batches drawn."""
    nets = gan.networks(data.shape, len(data.classes))
    noise: list[Tensor] = []
    nets["G"].register_forward_pre_hook(lambda module, inputs: noise.append(inputs[0].clone()))
    drawn: list[Batch] = []

    def drawing() -> Iterator[Batch]:
        for batch in Stream(data, batch=8, seed=0):
            drawn.append(batch)
            yield batch

    moves = list(gan.step(drawing(), 0, **nets))
    names = ["".join(name for name, net in nets.items() if net in move.networks) for move in moves]
    return names, noise, drawn, moves, nets


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_discriminator_moves_come_before_one_generator_move(k: int, images: Dataset) -> None:
    names, noise, drawn, _, _ = recorded(GAN(n_critic=k, width=4, latent=3), images)
    assert names == ["D"] * k + ["G"]
    assert len(noise) == k + 1
    assert len(drawn) == k


def test_every_move_has_fresh_noise_and_every_discriminator_move_fresh_examples(images: Dataset) -> None:
    _, noise, drawn, _, _ = recorded(GAN(n_critic=3, width=4, latent=3), images)
    assert all(not torch.equal(a, b) for i, a in enumerate(noise) for b in noise[:i])
    assert all(not torch.equal(a.x, b.x) for i, a in enumerate(drawn) for b in drawn[:i])
    assert all(len(z) == 8 for z in noise)


def test_real_and_fake_are_judged_apart_only_where_batch_norm_would_mix_them() -> None:
    """One pass gives an MLP's verdicts of two passes, in half the time; with batch norm it would change them."""
    shape = (3, 16, 16)
    x, fake = torch.rand(8, *shape), torch.rand(8, *shape)
    for gan, passes in ((GAN(width=4), 1), (DCGAN(width=4), 2)):
        D = gan.networks(shape)["D"]
        seen: list[int] = []
        D.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(len(inputs[0])))
        together = logits(D, torch.cat([x, fake]), ())
        assert seen == ([16] if passes == 1 else [8, 8])
        for verdict, expected in zip(together, (D(x), D(fake)), strict=True):
            torch.testing.assert_close(verdict, expected)


@pytest.mark.parametrize("loss", get_args(Loss))
def test_the_step_descends_the_loss_that_is_named(loss: Loss, vectors: Dataset) -> None:
    gan = GAN(loss=loss, latent=3, width=6)
    nets = gan.networks(vectors.shape)
    seen: list[Tensor] = []
    nets["D"].register_forward_hook(lambda module, inputs, out: seen.append(out.detach()))
    moves = list(gan.step(Stream(vectors, batch=8, seed=0), 0, **nets))
    real, fake = seen[0].chunk(2)
    expected = {name: t.item() for name, t in discriminator_terms(loss, real, fake).items()}
    assert {name: t.item() for name, t in moves[0].terms.items()} == pytest.approx(expected, rel=1e-5)
    fooled = generator_loss(loss, seen[-1], seen[1] if loss == "relativistic" else None)
    assert len(seen) == (3 if loss == "relativistic" else 2)
    assert moves[1].terms["fool"].item() == pytest.approx(fooled.item(), rel=1e-5)


def test_the_discriminator_returns_logits(images: Dataset) -> None:
    for gan in (GAN(width=4), DCGAN(width=4), R3GAN(width=4), CGAN(width=4)):
        D = gan.networks(images.shape, 5)["D"]
        last = D.psi if isinstance(D, ProjectionDiscriminator) else list(D.modules())[-1]
        assert isinstance(last, nn.Linear)


def test_weights_start_as_in_dcgan() -> None:
    nets = DCGAN(width=32).networks((3, 32, 32))
    for net in nets.values():
        for m in net.modules():
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and m.weight.numel() > 5000:
                assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and m.bias is not None:
                assert m.bias.abs().max() == 0


def test_packing_shows_the_discriminator_several_examples_in_one() -> None:
    x = torch.arange(4 * 3 * 2 * 2.0).view(4, 3, 2, 2)
    pairs = torch.stack([torch.cat([x[0], x[1]]), torch.cat([x[2], x[3]])])
    D = nn.Identity()
    assert torch.equal(GAN(pack=2).discriminator_input(x, D), pairs)
    assert torch.equal(GAN(pack=2).discriminator_input(x.flatten(1), D)[1], x[2:].flatten())
    assert GAN().discriminator_input(x, D) is x


@pytest.mark.parametrize("cls", [GAN, DCGAN, R3GAN])
def test_a_packing_discriminator_is_built_for_packs(cls: type[Adversarial], images: Dataset) -> None:
    gan = cls(pack=4, width=4, latent=3)
    nets = gan.networks(images.shape)
    shapes: list[tuple[int, ...]] = []
    nets["D"].register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    made = [tuple(nets["G"](torch.randn(2, 3)).shape)]
    for move in gan.step(Stream(images, batch=8, seed=0), 0, **nets):
        assert move.loss.isfinite()
    assert made == [(2, 3, 12, 10)]
    assert {shape[1:] for shape in shapes} == {(12, 12, 10)}
    assert {shape[0] for shape in shapes} == {2, 4}


def test_the_probe_takes_few_examples_and_leaves_out_what_fills_no_pack(images: Dataset) -> None:
    gan = GAN(pack=3, width=4, latent=3)
    nets, batch_sizes = gan.networks(images.shape), set[int]()
    nets["D"].register_forward_pre_hook(lambda module, inputs: batch_sizes.add(len(inputs[0])))
    probed = gan.discriminator_statistics(next(Stream(images, batch=40, seed=0)), **nets)
    assert batch_sizes == {32 // 3}
    assert set(probed) == {"input_gradient", "minimax_gradient", "non_saturating_gradient"}


def test_only_the_best_fakes_teach_the_generator() -> None:
    fake = torch.tensor([[0.3], [-2.0], [5.0], [1.0]], requires_grad=True)
    real = torch.tensor([[10.0], [20.0], [30.0], [40.0]])
    kept, paired = GAN(top_k=0.5).select_top_k(fake, real, 1000.0)
    assert paired is not None
    assert torch.equal(kept, torch.tensor([[5.0], [1.0]]))
    assert torch.equal(paired, torch.tensor([[30.0], [40.0]]))
    generator_loss("non-saturating", kept).backward()
    assert fake.grad is not None
    assert (fake.grad[:, 0] != 0).tolist() == [False, False, True, True]
    assert GAN(top_k=0.5).select_top_k(fake, None, 1000.0)[1] is None
    assert len(GAN(top_k=0.01).select_top_k(fake, None, 1e6)[0]) == 1  # never none


def test_the_share_of_fakes_falls_by_a_hundredth_an_epoch() -> None:
    fake = torch.randn(1000, 1)
    counts = [len(GAN(top_k=0.6).select_top_k(fake, None, epochs)[0]) for epochs in (0.0, 1.0, 10.0, 50.0, 52.0, 500.0)]
    assert counts == [1000, 990, round(1000 * 0.99**10), round(1000 * 0.99**50), 600, 600]


def test_each_network_has_its_learning_rate(vectors: Dataset) -> None:
    for model, rates in ((GAN(lr=1e-3, lr_d=4e-3, width=4), (1e-3, 4e-3)), (GAN(lr=1e-3, width=4), (1e-3, 1e-3))):
        state = initialize_state(model, vectors.shape, 0, CPU)
        for _ in train(model, vectors, TrainConfig(steps=2, batch_size=8), state):
            pass
        found = tuple(state.optimizers[name].param_groups[0]["lr"] for name in ("G", "D"))
        assert found == rates


def test_max_norm_shortens_each_networks_own_gradient() -> None:
    long, short = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)
    terms = {"a": 1000 * long(torch.ones(1, 4)).sum(), "b": 0.001 * short(torch.ones(1, 4)).sum()}
    apply_move(Move((long, short), terms), torch.optim.SGD([*long.parameters(), *short.parameters()], lr=0), None, 0.5)
    assert long.weight.grad is not None
    assert short.weight.grad is not None
    assert long.weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(short.weight.grad, torch.full((1, 4), 0.001))  # it is short already


def test_the_learning_rate_falls_linearly_at_the_end() -> None:
    plan = TrainConfig(steps=100, lr_decay=0.4)
    assert [lr_factor(plan, step) for step in (0, 60, 70, 80, 99)] == pytest.approx([1, 1, 0.75, 0.5, 0.025])
    both = TrainConfig(steps=100, lr_decay=0.4, lr_milestones=(0.5, 0.8))
    assert [lr_factor(both, step) for step in (49, 50, 70, 80)] == pytest.approx([1, 0.1, 0.075, 0.005])
    assert {lr_factor(TrainConfig(steps=100), step) for step in range(100)} == {1.0}


def test_the_decaying_rate_is_the_optimisers(vectors: Dataset) -> None:
    model = GAN(lr=1e-3, lr_d=2e-3, width=4)
    state = initialize_state(model, vectors.shape, 0, CPU)
    rates = [
        [state.optimizers[name].param_groups[0]["lr"] for name in "GD"]
        for _ in train(model, vectors, TrainConfig(steps=4, batch_size=8, lr_decay=1.0), state)
    ]
    assert rates == [pytest.approx([1e-3 * part, 2e-3 * part]) for part in (1, 0.75, 0.5, 0.25)]


def largest(layer: nn.Module) -> float:
    weight: Any = layer.weight
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


@pytest.mark.parametrize("gan", [GAN(width=8), DCGAN(width=4), CGAN(width=4, conditioning="projection")])
def test_spectral_norm_makes_every_largest_singular_value_1(gan: Adversarial) -> None:
    shape = (1, 16, 16)
    D = add_spectral_norm(gan.networks(shape, 3)["D"])
    given = (torch.arange(4) % 3,) if isinstance(gan, CGAN) else ()
    for _ in range(100):
        D(torch.rand(4, *shape), *given)
    D.eval()
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) >= 3
    assert [largest(m) for m in layers] == pytest.approx([1.0] * len(layers), abs=0.02)


FAINT = 0.01
"""contrast of images on which a normalised critic of any weights is steep"""


def steepest(gan: Adversarial, shape: tuple[int, ...]) -> float:
    """The largest slope of a critic at faint examples, whose weights first grew a hundredfold, but for its bound."""
    torch.manual_seed(0)
    D = gan.networks(shape, 3)["D"].train()
    given = (torch.arange(16) % 3,) if gan.is_conditional else ()
    for weight in D.parameters():
        weight.data *= 100 if weight.ndim > 1 else 1
    if gan.weight_clip is not None:
        clip_weights(D, gan.weight_clip)
    for _ in range(50):  # of power iteration
        D(torch.rand(16, *shape), *given)
    x = (FAINT * torch.randn(16, *shape)).requires_grad_()
    return squared_gradients(D(x, *given), x).sqrt().max().item()


@pytest.mark.parametrize(
    ("gan", "shape"),
    [
        (DCGAN(width=4, spectral_norm=True), (3, 32, 32)), (CGAN(width=4, spectral_norm=True), (3, 32, 32)),
        (DCGAN(width=4, spectral_norm=True, gp=10.0), (3, 32, 32)), (GAN(width=16, spectral_norm=True), (5,)),
        (DCGAN(width=4, loss="relativistic", spectral_norm=True), (3, 32, 32)), (WGAN(width=4), (3, 32, 32)),
        (WGAN(width=4, norm_d="layer"), (3, 32, 32)),
    ],
)  # fmt: skip
def test_what_bounds_the_slope_of_a_critic_does(gan: Adversarial, shape: tuple[int, ...]) -> None:
    """No layer stretches by more than its norm: 1 for a matrix, at most 2 for a kernel of 4 x 4 with stride 2.

    A batch or layer norm after a layer would divide by what it makes of faint examples, and undo the bound; weights
    that are clipped are clipped in the normalisation as well.
    """
    assert steepest(gan, shape) < 2**3 * 1.2
    if isinstance(gan, WGAN):
        free: Adversarial = dataclasses.replace(gan, weight_clip=None, norm_d="batch")
    else:
        free = dataclasses.replace(gan, spectral_norm=False, norm_d="batch", gp=0.0)
    assert steepest(free, shape) > 100, "this is what a critic without a bound is like"


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_norm_that_undoes_spectral_norm_is_refused(norm: Any, images: Dataset) -> None:
    for gan in (DCGAN(spectral_norm=True, norm_d=norm), GAN(loss="wasserstein", spectral_norm=True, norm_d=norm)):
        with pytest.raises(UserError, match=f"spectral_norm bounds D's slope .* norm_d={norm} undoes"):
            ganvas.train(gan, images, folder="run", steps=1, batch_size=8, quiet=True)
        assert not Path("run").exists()


def test_spectral_norm_is_computed_in_float32_under_autocast() -> None:
    """Of the products that it takes, autocast would make some bfloat16 on CUDA, others on the CPU."""
    D = add_spectral_norm(GAN(width=16).networks((6,))["D"]).eval()
    layers: list[Any] = [m for m in D.modules() if isinstance(m, nn.Linear)]
    exact = [m.weight for m in layers]
    matrix, x = nn.Linear(16, 16), torch.randn(4, 16)
    with autocast("bfloat16", CPU):
        assert all(isinstance(m.parametrizations.weight[0], WithoutAutocast) for m in layers)
        assert all(torch.equal(m.weight, weight) for m, weight in zip(layers, exact, strict=True))
        assert matrix(x).dtype == torch.bfloat16
        inside = WithoutAutocast(matrix)(x)
    assert torch.equal(inside, matrix(x))


def test_the_state_of_spectral_norm_comes_back(images: Dataset, tmp_path: Any) -> None:
    model = DCGAN(width=4, latent=3, spectral_norm=True)

    def ran(steps: int, state: Any = None) -> Any:
        state = state or initialize_state(model, images.shape, 0, CPU)
        for _ in train(model, images, TrainConfig(steps=steps, batch_size=8), state):
            pass
        return state

    whole, part = ran(6), ran(3)
    checkpoint.save(part, tmp_path / "state.ckpt", {})
    other = initialize_state(model, images.shape, 5, CPU)
    checkpoint.restore(other, tmp_path / "state.ckpt", model)
    there, back = whole.nets.state_dict(), ran(6, other).nets.state_dict()
    assert any(name.endswith("_u") for name in there)
    assert all(torch.equal(value, back[name]) for name, value in there.items())


def test_uniform_noise_is_uniform_on_minus_1_to_1(images: Dataset) -> None:
    gan = GAN(noise_distribution="uniform", latent=500, width=4)
    _, noise, _, _, _ = recorded(gan, images)
    for z in (
        *noise,
        gan.sample_prior(20, images.shape, torch.Generator().manual_seed(0)),
        gan.noise(20),
    ):
        assert -1 <= z.min() < -0.99
        assert 0.99 < z.max() <= 1
        assert z.mean().item() == pytest.approx(0, abs=0.05)
        assert z.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert GAN(latent=500).sample_prior(20, images.shape, torch.Generator().manual_seed(0)).max() > 2


def test_accuracies_are_shares_on_the_right_side_of_the_border() -> None:
    real, fake = torch.tensor([2.0, 0.7, 0.2, -1.0]), torch.tensor([-3.0, 0.1, 0.3, 0.6])
    for loss, shares in (
        ("non-saturating", (0.75, 0.25)),
        ("least-squares", (0.5, 0.75)),
        ("wasserstein", (0.75, 0.25)),
    ):
        found = {name: value.item() for name, value in confidence(real, fake, loss).items()}
        assert found == pytest.approx({"accuracy_real": shares[0], "accuracy_fake": shares[1], "logit_gap": 0.975}), (
            loss
        )


REFUSALS: list[tuple[Adversarial, str, str]] = [
    (DCGAN(), "vectors", "dcgan needs images, but vectors holds vectors: train gan instead"),
    (DCGAN(gp=1.0, norm_d="batch"), "images", "gp=1 is about D's gradient at each example, but batch norm mixes"),
    (R3GAN(norm_d="batch"), "images", "r1=0.1 is about D's gradient at each example"),
    (R3GAN(r1=0.0, norm_d="batch"), "vectors", "r2=0.1 is about D's gradient at each example"),
    (
        GAN(loss="wasserstein"),
        "vectors",
        "loss=wasserstein needs a critic of bounded slope: give gp=10, weight_clip=0.01",
    ),
    (WGANGP(gp=0.0), "images", "wgangp bounds its critic by gp: give one"),
    (WGAN(weight_clip=None), "images", "wgan bounds its critic by weight_clip: give one"),
    (GAN(gp=10.0, weight_clip=0.1), "images", "gp and weight_clip are different ways to bound the slope of D"),
    (GAN(weight_clip=0.1, spectral_norm=True), "images", "weight_clip and spectral_norm are different ways"),
    (
        GAN(penalty_interval=4),
        "images",
        "penalty_interval=4 is the interval of penalties: give a weight, e.g. r1=1",
    ),
    (R3GAN(r1=0, r2=0, penalty_interval=4), "images", "penalty_interval=4 is the interval of penalties: give a weight"),
    (GAN(augment=("color", "cutout")), "vectors", "augment=color,cutout changes images, but vectors holds vectors"),
    (CGAN(pack=2), "images", "pack=2 shows D examples of different labels at once: use pack=1"),
    (CGAN(), "vectors", "vectors has no labels, and cgan draws the class it is asked for"),
    (WGAN(betas=(0.5, 0.9)), "images", "betas=0.5,0.9: RMSprop has no momentum: give 0 first"),
]


@pytest.mark.parametrize(("gan", "kind", "said"), REFUSALS, ids=[r[2][:40] for r in REFUSALS])
def test_what_makes_no_sense_is_refused(
    gan: Adversarial, kind: str, said: str, images: Dataset, vectors: Dataset
) -> None:
    with pytest.raises(UserError) as error:
        gan.validate_data(images if kind == "images" else vectors)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "gan", [GAN(), DCGAN(), CGAN(), WGAN(), WGANGP(), R3GAN(), GAN(loss="hinge", r1=1.0, penalty_interval=4)]
)
def test_what_makes_sense_is_not_refused(gan: Adversarial, images: Dataset) -> None:
    gan.validate_data(images)
    gan.validate_batch_size(8, images.shape)


def test_batches_too_small_for_batch_norm_or_packing_are_refused() -> None:
    image, vector = (3, 8, 8), (4,)
    with pytest.raises(UserError, match="batch_size=8 cannot be packed by pack=3: give a multiple of it"):
        GAN(pack=3).validate_batch_size(8, vector)
    for gan, shape, batch in (
        (DCGAN(), image, 1), (GAN(norm_d="batch"), vector, 1), (GAN(norm="batch"), vector, 1),
        (DCGAN(pack=4), image, 4), (WGANGP(), image, 1),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"batch_size={batch} is too small for batch norm: give more, or norm=none"):
            gan.validate_batch_size(batch, shape)
    for gan, shape, batch in (
        (GAN(), vector, 1), (GAN(), image, 1), (R3GAN(), image, 1), (DCGAN(norm="layer", norm_d="none"), image, 1),
        (GAN(pack=4), vector, 4),
    ):  # fmt: skip
        gan.validate_batch_size(batch, shape)


def test_an_optimiser_is_named_after_its_network(vectors: Dataset) -> None:
    model = GAN(width=4)
    state = initialize_state(model, vectors.shape, 0, CPU)
    parameters = get_optimizer("D", model, state).param_groups[0]["params"]
    assert all(a is b for a, b in zip(parameters, state.nets["D"].parameters(), strict=True))
