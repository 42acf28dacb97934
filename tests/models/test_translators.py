"""Translators: every loss against NumPy in float64, every step against a slow one, and what others have got wrong."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import interpolate

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset, PairStream
from ganvas.errors import UserError
from ganvas.model import Batch, Move, PairBatch
from ganvas.models import CUT, CycleGAN, DiscoGAN
from ganvas.models._translator import Translator
from ganvas.nn.augment import random_crop
from ganvas.nn.discriminator import ImagePool
from ganvas.nn.translators import PatchCritic, ResidualBlock, ResnetTranslator, encoder_decoder
from ganvas.objectives.translation import MARGIN, absolute_error, feature_matching, reconstruction_distance
from ganvas.training.loop import initialize_state, train
from tests.support.data import as_pair, image_collection
from tests.support.models import every_translator, small

CPU = torch.device("cpu")
STILL: dict[str, Any] = {"enlarge": 1, "flip": False, "pool_size": 0}
"""a CycleGAN without anything random"""


def batch_of(n: int = 5, shape: tuple[int, ...] = (3, 12, 10)) -> PairBatch:
    g = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, n, *shape, generator=g) * 2 - 1
    return PairBatch(Batch(x), Batch(y))


def moves_of(model: Translator, batch: PairBatch, nets: dict[str, nn.Module]) -> list[Move]:
    return list(model.step(iter([batch]), 0, **nets))


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.numpy().astype(np.float64) for t in tensors]


def test_distances_are_what_numpy_says() -> None:
    x, made = torch.randn(2, 6, 3, 4, 5)
    a, b = arrays(x, made)
    rows, others = a.reshape(6, -1), b.reshape(6, -1)
    cosine = (rows * others).sum(1) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1))
    expected = {
        "mse": ((a - b) ** 2).mean(), "cosine": (1 - cosine).mean(),
        "hinge": np.maximum(0, np.abs(a - b) - MARGIN).mean(),
    }  # fmt: skip
    for kind, value in expected.items():
        assert reconstruction_distance(kind, x, made).item() == pytest.approx(value, rel=1e-5), kind
        assert reconstruction_distance(kind, x, x).item() == pytest.approx(0, abs=1e-6)
    assert absolute_error(x, made).item() == pytest.approx(np.abs(a - b).mean(), rel=1e-5)


def test_feature_matching_is_what_numpy_says() -> None:
    real, fake = [torch.randn(6, 3, 4, 4), torch.randn(6, 7)], [torch.randn(4, 3, 4, 4), torch.randn(4, 7)]
    expected = sum(((r.mean(0) - f.mean(0)) ** 2).mean() for r, f in zip(arrays(*real), arrays(*fake), strict=True))
    assert feature_matching(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_cyclegans_step_is_that_of_six_separate_passes() -> None:
    """Identity and translation in one pass, both halves of a critic's batch in one: the same numbers and gradients."""
    model, batch = CycleGAN(width=4, blocks=1, cycle_weight=7, identity_weight=3, **STILL), batch_of()
    nets = model.networks(((3, 12, 10), (3, 12, 10)))
    G, F, DX, DY = (nets[name] for name in ("G", "F", "DX", "DY"))
    x, y = batch.a.x, batch.b.x
    fake_y, fake_x = G(x), F(y)
    fool = ((DY(fake_y) - 1) ** 2).mean() + ((DX(fake_x) - 1) ** 2).mean()
    cycle = 7 * ((F(fake_y) - x).abs().mean() + (G(fake_x) - y).abs().mean())
    identity = 3 * ((F(x) - x).abs().mean() + (G(y) - y).abs().mean())
    first, second = moves_of(model, batch, nets)
    assert (first.networks, second.networks) == ((G, F), (DX, DY))
    for name, value in (("fool", fool), ("cycle", cycle), ("identity", identity)):
        assert first.terms[name].item() == pytest.approx(value.item(), rel=1e-6), name
    critics = [
        ((D(real) - 1) ** 2).mean() / 2 + (D(fake.detach()) ** 2).mean() / 2
        for D, real, fake in ((DX, x, fake_x), (DY, y, fake_y))
    ]
    assert second.loss.item() == pytest.approx(sum(critics).item(), rel=1e-6)
    for move, slow, moving in ((first, fool + cycle + identity, (G, F)), (second, sum(critics), (DX, DY))):
        weights = [p for net in moving for p in net.parameters()]
        got, expected = torch.autograd.grad(move.loss, weights), torch.autograd.grad(slow, weights)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recon", ["none", "one", "both"])
def test_discogans_step_is_the_papers(recon: str) -> None:
    model, batch = (
        DiscoGAN(width=8, reconstruct=recon, reconstruction_weight=2, feature_matching_weight=0.5),
        batch_of(6, (4,)),
    )
    nets = model.networks(((4,), (4,)))
    assert set(nets) == {"none": {"GAB", "DB"}, "one": {"GAB", "GBA", "DB"}, "both": {"GAB", "GBA", "DA", "DB"}}[recon]
    a, b = batch.a.x, batch.b.x
    ab = nets["GAB"](a)
    sides = [("B", b, ab)] if recon != "both" else [("A", a, nets["GBA"](b)), ("B", b, ab)]
    fool, judged, matched = torch.zeros(3)
    for domain, real, fake in sides:
        D = nets[f"D{domain}"]
        judged = judged + bce(D(real), torch.ones(6, 1)) + bce(D(fake), torch.zeros(6, 1))
        fool = fool + bce(D(fake), torch.ones(6, 1))
        for end in (3, 5, 7):  # Flatten or units, then (linear, activation) four times
            hidden = D[: end + 2]
            matched = matched + (hidden(real).mean(0) - hidden(fake).mean(0)).square().mean()
    critics, translators = moves_of(model, batch, nets)
    assert critics.loss.item() == pytest.approx(judged.item(), rel=1e-5)
    assert translators.terms["fool"].item() == pytest.approx(fool.item(), rel=1e-5)
    assert translators.terms["features"].item() == pytest.approx(0.5 * matched.item(), rel=1e-4)
    rebuilt = torch.zeros(()) if recon == "none" else (nets["GBA"](ab) - a).square().mean()
    if recon == "both":
        rebuilt = rebuilt + (nets["GAB"](nets["GBA"](b)) - b).square().mean()
    assert translators.terms.get("constancy", torch.zeros(())).item() == pytest.approx(2 * rebuilt.item(), rel=1e-5)
    assert set(translators.networks) == {net for name, net in nets.items() if name[0] == "G"}


@pytest.mark.parametrize(
    "name", ["cycle_weight", "identity_weight", "reconstruction_weight", "feature_matching_weight"]
)
def test_every_weight_moves_the_loss(name: str) -> None:
    cls, own = (CycleGAN, STILL | {"blocks": 1}) if name in ("cycle_weight", "identity_weight") else (DiscoGAN, {})
    nets = cls(width=4, **own).networks(((3, 12, 10), (3, 12, 10)))

    def term(weight: float) -> float:
        moves = moves_of(cls(width=4, **own, **{name: weight}), batch_of(), nets)
        logged = {"reconstruction_weight": "constancy", "feature_matching_weight": "features"}
        term_name = logged.get(name, name.removesuffix("_weight"))
        return next(m.terms.get(term_name, torch.zeros(())).item() for m in moves if "fool" in m.terms)

    assert term(1.0) > 0
    assert term(0.0) == 0
    assert term(2.0) == pytest.approx(2 * term(1.0), rel=1e-4)


class SlowPool:
    """The authors' pool, one image after the other: arXiv:1612.07828, section 2.3."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def query(self, new: Tensor, coin: Tensor, place: Tensor) -> Tensor:
        returned = []
        for image, c, p in zip(new, coin.tolist(), place.tolist(), strict=True):
            if len(self.images) < self.size:
                self.images.append(image)
                returned.append(image)
            elif c > 0.5:
                returned.append(self.images[p])
                self.images[p] = image
            else:
                returned.append(image)
        return torch.stack(returned)


@pytest.mark.parametrize(("size", "batch"), [(50, 1), (5, 3), (7, 7), (4, 9), (1, 6), (50, 8)])
def test_the_pool_is_that_of_a_slow_reference(size: int, batch: int) -> None:
    pool, slow, g = ImagePool((2, 3), size), SlowPool(size), torch.Generator().manual_seed(size)
    for _ in range(40):
        new = torch.rand(batch, 2, 3, generator=g)
        coin, place = torch.rand(batch, generator=g), torch.randint(size, (batch,), generator=g)
        assert torch.equal(pool.query(new, coin, place), slow.query(new, coin, place))
        assert torch.equal(pool.kept[: len(slow.images)], torch.stack(slow.images))


def test_a_full_pool_answers_half_of_the_queries_with_an_old_fake() -> None:
    pool = ImagePool((1,), 50)
    old = 0
    for i in range(500):
        new = torch.arange(i * 4.0, i * 4 + 4)[:, None]
        answer = pool(new)
        assert len(answer.unique()) == 4
        old += int((answer != new).sum()) if i >= 50 else 0
    assert old / 1800 == pytest.approx(0.5, abs=0.04)
    assert int(pool.seen) == 2000


def test_no_pool_returns_what_it_is_given() -> None:
    new = torch.rand(3, 2, requires_grad=True)
    assert torch.equal(ImagePool((2,), 0)(new), new)
    assert not ImagePool((2,), 0)(new).requires_grad


def test_the_pool_is_part_of_the_state(images: Dataset) -> None:
    """Left out of the checkpoint, critics would see only new fakes for a while after each resume."""
    state = initialize_state(small(CycleGAN), as_pair(images).shape, 0, CPU)
    for _ in train(small(CycleGAN), as_pair(images), TrainConfig(steps=3, batch_size=4), state):
        pass
    held = state.nets.state_dict()
    assert int(held["DY.past.seen"]) == 12
    assert held["DY.past.kept"].abs().sum() > 0
    assert not any("past" in name for name in state.ema_nets.state_dict())


def test_the_critics_are_shown_the_pools_answer(images: Dataset) -> None:
    model = small(CycleGAN, **STILL | {"pool_size": 4})
    nets = model.networks(as_pair(images).shape)
    shown = []
    nets["DY"].net.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0]))
    answers = torch.full((4, 3, 12, 10), 0.25)
    nets["DY"].past.forward = lambda new: answers
    moves_of(model, next(PairStream(as_pair(images), batch=4, seed=0)), nets)
    assert torch.equal(shown[-1][4:], answers)
    assert not torch.equal(shown[0][:4], answers)  # the translators' turn has the new ones


@every_translator
def test_no_loss_compares_an_example_with_its_counterpart(cls: type[Translator]) -> None:
    """With pairs in the loss, "unpaired" models look much better on aligned data."""
    model, batch = small(cls, **STILL), batch_of(6)
    nets = model.networks(((3, 12, 10), (3, 12, 10)))
    dark_to_bright = torch.linspace(-0.8, 0.8, 6)[:, None, None, None]
    batch = PairBatch(*(Batch(part.x * 0.2 + dark_to_bright) for part in batch))
    mixed = PairBatch(batch.a, Batch(batch.b.x.roll(3, 0)))
    for straight, shuffled in zip(moves_of(model, batch, nets), moves_of(model, mixed, nets), strict=True):
        for name, term in straight.terms.items():
            assert term.item() == pytest.approx(shuffled.terms[name].item(), rel=1e-4), name


@every_translator
def test_the_critics_turn_does_not_reach_the_translators(cls: type[Translator]) -> None:
    model = small(cls)
    nets = model.networks(((3, 12, 10), (3, 12, 10)))
    for move in model.step(iter([batch_of()]), 0, **nets):
        if any(name.startswith("real") for name in move.terms):
            move.loss.backward()
            for name, net in nets.items():
                assert all((p.grad is not None) == name.startswith("D") for p in net.parameters()), name


def test_the_identity_loss_is_taken_on_the_domain_that_a_translator_returns() -> None:
    """G repeats y, not x: here only x would show that G halves what it is given."""

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    model = CycleGAN(width=4, identity_weight=1, **STILL)
    nets = model.networks(((3, 12, 10), (3, 12, 10))) | {"G": Half(), "F": nn.Identity()}
    x, y = torch.rand(2, 3, 3, 12, 10)
    for a, b, expected in ((x, 0 * y, 0), (0 * x, y, y.mean().item() / 2)):
        terms = moves_of(model, PairBatch(Batch(a), Batch(b)), nets)[0].terms
        assert terms["identity"].item() == pytest.approx(expected, rel=1e-5)


def test_norms_are_the_papers() -> None:
    """Instance norm without weights or running statistics; batch norm's epsilon is 1e-5, not 0.8."""
    shapes = ((3, 32, 32), (3, 32, 32))
    cycle = [m for net in CycleGAN(width=4).networks(shapes).values() for m in net.modules()]
    norms = [m for m in cycle if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 2 * (5 + 2 * 6) + 2 * 1
    assert {(m.eps, m.affine, m.track_running_stats) for m in norms} == {(1e-5, False, False)}
    assert not any(isinstance(m, nn.BatchNorm2d | nn.Dropout) for m in cycle)
    disco = [m for net in DiscoGAN(width=4).networks(shapes).values() for m in net.modules()]
    assert {(m.eps, m.momentum) for m in disco if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}
    convolutions = [m for m in cycle if isinstance(m, nn.Conv2d) and m.weight.numel() > 2000]
    assert all(0.018 < m.weight.std() < 0.022 for m in convolutions)


def test_translators_and_critics_are_the_papers() -> None:
    """Appendix 7.2: 9 blocks from 256 pixels on, else 6; patches of 70 pixels; so many parameters."""
    for net, theirs, biases in (
        (ResnetTranslator((3, 256, 256), (3, 256, 256), 64, 9), 11_378_179, 64 + 128 + 256 + 18 * 256 + 128 + 64),
        (PatchCritic((3, 256, 256), 64, 3), 2_764_737, 128 + 256 + 512),
    ):  # less the biases that instance norm undoes
        assert sum(p.numel() for p in net.parameters()) == theirs - biases
    for size, blocks in ((256, 9), (128, 6), (32, 6)):
        G = CycleGAN(width=2).networks(((3, size, size), (3, size, size)))["G"]
        assert sum(isinstance(m, ResidualBlock) for m in G.modules()) == blocks
    for halvings, patch in ((1, 16), (2, 34), (3, 70)):
        D = PatchCritic((1, 96, 96), 2, halvings)
        D.body = nn.Sequential(*[m for m in D.body if isinstance(m, nn.Conv2d)])  # norms see the whole image
        x = torch.rand(1, 1, 96, 96, requires_grad=True)
        middle = D(x)[0, 0]
        (seen,) = torch.autograd.grad(middle[middle.shape[0] // 2, middle.shape[1] // 2], x)
        rows = seen[0, 0].abs().sum(1).nonzero()
        assert int(rows.max() - rows.min()) + 1 == patch


@pytest.mark.parametrize(("size", "patch"), [(16, 16), (32, 16), (64, 34), (96, 34), (128, 70), (256, 70)])
def test_patches_are_about_half_of_an_image_unless_given(size: int, patch: int) -> None:
    """70 pixels are all of an image of 32 and more; the paper's images have 256."""
    for cls in (CycleGAN, CUT):
        model, shape = cls(width=2), (3, size, size + 9)
        sizes = [[p.shape for p in m.critic(shape).parameters()] for m in (model, replace(model, patch_size=patch))]
        assert sizes[0] == sizes[1]
        others = [replace(model, patch_size=other).critic(shape) for other in {16, 34, 70} - {patch}]
        assert all([p.shape for p in D.parameters()] != sizes[0] for D in others)


@pytest.mark.parametrize("size", [(32, 32), (37, 53), (5, 5), (1, 30), (64, 20)])
def test_residual_translators_take_images_of_any_size(size: tuple[int, int]) -> None:
    G = CycleGAN(width=2, blocks=1).networks(((3, 32, 32), (1, 32, 32)))["G"]
    assert G(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_discogans_bottleneck() -> None:
    small_maps = encoder_decoder((3, 32, 32), (1, 32, 32), 8, None)
    assert not any(isinstance(m, nn.Linear) for m in small_maps)
    for b, latent, expected in (((3, 32, 32), 20, 20), ((1, 50, 20), None, 100)):
        net = encoder_decoder((3, 32, 32), b, 8, latent)
        assert next(m.out_features for m in net.modules() if isinstance(m, nn.Linear)) == expected
        assert net(torch.rand(2, 3, 32, 32)).shape == (2, *b)


@every_translator
def test_a_residual_translator_begins_with_the_identity_and_learns(cls: type[Translator], images: Dataset) -> None:
    model, x = small(cls, residual=True), batch_of(8).a.x
    nets = model.networks(as_pair(images).shape)
    for name in model.translators.values():
        nets[name].eval()
        torch.testing.assert_close(nets[name](x), x, rtol=0, atol=1e-6)
    run = ganvas.train(model, as_pair(images).datasets, steps=3, batch_size=4, quiet=True)
    made = run.model.translate(x, "B", **run.nets)
    assert 0 < (made - x).abs().max() < 1
    assert made.abs().max() <= 1
    assert not any(
        isinstance(m, nn.Tanh) for net in (nets[name] for name in model.translators.values()) for m in net.modules()
    )


@every_translator
def test_a_correction_needs_images_of_one_shape(cls: type[Translator], images: Dataset) -> None:
    grey = np.zeros((9, 12, 10), np.uint8)
    of_images = [] if cls is CUT else [(as_pair(images).datasets, "mlp")]
    for data, net in (((images, grey), "auto"), (("ring", "ring"), "auto"), *of_images):
        with pytest.raises(UserError, match="residual adds a correction .* leave it out"):
            ganvas.train(small(cls, residual=True, net=net), data, steps=1, quiet=True)


def test_images_are_enlarged_and_cropped_each_at_a_place_of_its_own() -> None:
    x = torch.rand(64, 3, 32, 20) * 2 - 1
    big = interpolate(x, (36, 22), mode="bicubic", align_corners=False).clamp(-1, 1)
    places = set()
    for image, whole in zip(random_crop(x, 286 / 256), big, strict=True):
        found = [(i, j) for i in range(5) for j in range(3) if torch.equal(whole[:, i : i + 32, j : j + 20], image)]
        assert len(found) == 1
        places |= set(found)
    assert len(places) == 15
    assert torch.equal(random_crop(x, 1.0), x)


def test_augmentation_is_for_training_alone(images: Dataset) -> None:
    run = ganvas.train(small(CycleGAN), as_pair(images).datasets, steps=2, batch_size=4, quiet=True)
    nets = dict(run.nets.items())
    x = torch.rand(2, 3, 12, 10)
    assert torch.equal(run.model.translate(x, "B", **nets), run.model.translate(x, "B", **nets))


def test_there_is_no_way_back_where_none_was_learnt(images: Dataset) -> None:
    run = ganvas.train(small(DiscoGAN, reconstruct="none"), as_pair(images).datasets, steps=2, batch_size=4, quiet=True)
    with pytest.raises(UserError, match="this discogan translates to B, not to 'A'"):
        run.model.translate(torch.zeros(1, 3, 12, 10), "A", **run.nets)
    assert set(run.nets) == {"GAB"}


def test_rows_of_a_preview() -> None:
    """x, G(x), F(G(x)), then y, F(y), G(F(y))."""
    model, batch = small(CycleGAN), batch_of(3)
    nets = {name: net for name, net in model.networks(((3, 12, 10),) * 2).items() if name in "GF"}
    x, y, G, F = batch.a.x, batch.b.x, nets["G"], nets["F"]
    for row, expected in zip(model.preview(batch, **nets), (x, G(x), F(G(x)), y, F(y), G(F(y))), strict=True):
        torch.testing.assert_close(row, expected)


def test_what_the_log_says_of_round_trips() -> None:
    class Plus(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1

    model = small(CycleGAN)
    seen = model.monitor(batch_of(8), G=Plus(), F=nn.Identity())
    assert seen["cycle_error_A"].item() == pytest.approx(0.1, rel=1e-4)
    assert seen["noisy_cycle_error_A"].item() == pytest.approx(0.1, rel=0.1)
    assert seen["input_change_B"].item() == 0
    assert 0.1 < seen["input_change_A"].item() < 0.2  # numbers in [-1, 1] are 2/3 apart


def test_images_of_the_pair_may_be_bytes_of_any_size() -> None:
    assert image_collection(3).datasets[0].shape == (3, 12, 10)


@pytest.mark.parametrize(("size", "first"), [(32, True), (64, True), (128, False)])
def test_residual_blocks_of_small_images_are_channels_first(size: int, first: bool) -> None:
    """The order of memory is what is fastest; what they compute is the same in both."""
    net = ResnetTranslator((3, size, size), (3, size, size), 4, 1)
    blocks = [p for m in net.modules() if isinstance(m, ResidualBlock) for p in m.parameters()]
    assert all(p.is_contiguous() == first for p in blocks)
    x = torch.rand(2, 3, size, size) * 2 - 1
    other = deepcopy(net).to(memory_format=torch.channels_last if first else torch.contiguous_format)
    torch.testing.assert_close(net(x), other(x), rtol=1e-4, atol=1e-5)
