"""What every model owes the trainer, checked on every registered model."""

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

import ganvas
from ganvas import models
from ganvas.config import TrainConfig
from ganvas.data import Dataset, DomainPair, fit_scaling, from_array, load, make_stream
from ganvas.errors import UserError
from ganvas.inference import scores
from ganvas.inference.scores import score_kinds
from ganvas.inference.trained import Trained, load_trained
from ganvas.model import EncoderModel, GenerativeModel, Model, Move, to_dict
from ganvas.models import MODELS
from ganvas.models._gan import Adversarial
from ganvas.models._translator import Translator
from ganvas.training.loop import apply_move, initialize_state, train
from tests.support.data import NUMBER_SHAPES, image_collection, learnt_by, number_collection, sources
from tests.support.models import after_a_step, every_generator, every_model, every_model_and_ctgan, small

CPU = torch.device("cpu")
every_kind = pytest.mark.parametrize("kind", ["conv", "resize", "residual", "mlp", "vectors", "signals", "volumes"])


def outputs(made: Any) -> Tensor:
    """What a network returns: numbers, or the mean of the distribution that it returns."""
    return made if isinstance(made, Tensor) else made.mean


def sample_data(kind: str) -> Dataset:
    if kind == "vectors":
        return load("ring").select(slice(40))
    return number_collection(kind) if kind in NUMBER_SHAPES else image_collection()


def small_of(cls: type[Model], kind: str) -> Model:
    """The model for examples of this kind; the test skips where it has no networks for them."""
    net = "mlp" if kind == "vectors" else "conv" if kind in NUMBER_SHAPES else kind
    if cls is ganvas.CUT and kind in NUMBER_SHAPES:
        pytest.skip("compares places of images")
    try:
        return small(cls, net=net)
    except UserError as error:
        assert "`net` must be" in str(error)  # noqa: PT017
        pytest.skip(f"has no net={net}")


def labels_of(model: Model, n: int) -> tuple[Tensor, ...]:
    """What a conditional model's networks take besides their input."""
    return (torch.arange(n) % 5,) if model.is_conditional else ()


@every_kind
@every_model
def test_a_move_changes_only_its_own_networks(cls: type[Model], kind: str) -> None:
    data, model = learnt_by(cls, sample_data(kind)), small_of(cls, kind)
    nets = model.networks(data.shape, len(data.classes))
    moved: set[str] = set()
    for move in model.step(make_stream(data, fit_scaling(data, model), batch=8, seed=0), 0, **nets):
        before = {name: [p.clone() for p in net.parameters()] for name, net in nets.items()}
        apply_move(move, model.optimizer(*move.networks))
        for name, net in nets.items():
            same = all(torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True))
            assert same == (net not in move.networks), name
            moved |= {name} if net in move.networks else set()
        assert all(term.ndim == 0 and term.isfinite() for term in move.terms.values())
        assert torch.equal(move.loss, sum(move.terms.values(), torch.tensor(0.0)))
    assert moved == set(nets)


@every_model_and_ctgan
def test_every_parameter_gets_a_gradient(cls: type[Model], images: Dataset) -> None:
    model, data = small(cls), learnt_by(cls, images)
    nets = model.networks(data.shape, len(data.classes))
    for move in model.step(make_stream(data, fit_scaling(data, model), batch=8, seed=0), 0, **nets):
        apply_move(move, torch.optim.SGD([p for network in move.networks for p in network.parameters()], lr=0))
        for network in move.networks:
            gradients = [p.grad for p in network.parameters()]
            # the bias of a critic's last layer cancels where only differences of its verdicts count
            assert all(g is not None and (g.abs().sum() > 0 or g.shape == (1,)) for g in gradients)


@every_model_and_ctgan
def test_a_model_survives_json_and_is_compared_by_value(cls: type[Model]) -> None:
    model = replace(small(cls), lr=0.123)
    assert TypeAdapter(cls).validate_python(json.loads(json.dumps(to_dict(model)))) == model
    assert model != small(cls)


@every_model_and_ctgan
def test_bad_hyperparameters_are_refused(cls: type[Model]) -> None:
    for field, value in (("lr", 0), ("lr", float("nan")), ("latent", -1), ("betas", (1.0, 0.9)), ("net", "cnn")):
        with pytest.raises(UserError, match=field):
            cls(**{field: value})
    with pytest.raises(UserError, match="no_such_field"):
        cls(no_such_field=1)


@every_kind
@every_model
def test_a_preview_shows_examples(cls: type[Model], kind: str) -> None:
    data, model = learnt_by(cls, sample_data(kind)), small_of(cls, kind)
    made = model.networks(data.shape, len(data.classes))
    nets = {name: net.eval() for name, net in made.items() if name not in model.training_only}
    batch = next(make_stream(data, fit_scaling(data, model), batch=7, seed=0))
    rows = model.preview(batch, **nets)
    assert rows.shape[1:] == (7, *data.datasets[0].shape)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 28, 28), (3, 32, 32), (4, 17, 40), (1, 5, 5), (3, 8, 65), (1, 1, 30), (3, 101, 64), (1, 16, 16),
        (3, 256, 256), (1, 256, 160), (3, 100, 250),
    ],
)  # fmt: skip
@pytest.mark.parametrize("net", ["conv", "residual"])
@every_generator
def test_networks_take_images_of_any_shape(cls: type[Model], net: str, shape: tuple[int, ...]) -> None:
    model = replace(small_of(cls, net), width=2)
    nets, labels = model.networks(shape, 5), labels_of(model, 2)
    z = model.sample_prior(2, shape, torch.Generator())
    decoder = nets.get("decoder", nets.get("G"))
    encoder = nets.get("encoder", nets.get("D"))
    assert decoder is not None
    assert encoder is not None
    x = outputs(decoder(z, *labels))
    assert x.shape == (2, *shape)
    assert len(outputs(encoder(x, *labels))) == 2


def test_dcgans_networks_are_those_of_its_paper() -> None:
    """Figure 1 of arXiv:1511.06434: maps of 1024, 512, 256 and 128 channels, 4 to 32 wide, for 64 x 64 x 3; and back.

    Weights are counted as the layers say: no biases before batch norm, which has two numbers a channel.
    """
    with torch.device("meta"):
        nets = ganvas.DCGAN(width=128).networks((3, 64, 64))
        maps: list[tuple[int, ...]] = []
        for net in nets.values():
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Unflatten):
                    layer.register_forward_hook(lambda module, inputs, result: maps.append(tuple(result.shape[1:])))
        nets["D"](nets["G"](torch.rand(2, 100)))
    up = [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32)]
    assert maps == [*up, (3, 64, 64), *up[::-1]]
    weights = 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    norms = 2 * (512 + 256)
    assert count(nets["G"]) == weights + 100 * 1024 * 16 + norms + 2 * (1024 + 128) + 3
    assert count(nets["D"]) == weights + 1024 * 16 + 1 + norms + 2 * 1024 + 128
    kinds = [type(layer) for layer in nets["D"] if not isinstance(layer, nn.Flatten)]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, *[nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 3, nn.Linear]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_convolutions_on_vectors_are_refused() -> None:
    with pytest.raises(UserError, match="net=conv needs images"):
        ganvas.train(ganvas.WGAN(net="conv"), "ring", steps=1)


def test_adding_a_model_touches_one_file_and_one_line() -> None:
    files = {f.stem for f in Path(models.__file__).parent.glob("*.py") if not f.stem.startswith("_")}
    assert files == set(MODELS)


@every_model_and_ctgan
def test_the_algorithm_of_a_gan_stands_in_its_own_file(cls: type[Model]) -> None:
    """In at most 15 lines, its docstring and its signature not counted."""
    if not issubclass(cls, Adversarial | Translator):
        return
    step = ast.parse(textwrap.dedent(inspect.getsource(vars(cls)["step"]))).body[0]
    assert isinstance(step, ast.FunctionDef)
    first, last = step.body[1].lineno, step.body[-1].end_lineno
    assert last is not None
    assert last - first < 15


@every_model
def test_an_artifact_comes_back_whole(cls: type[Model], tmp_path: Path) -> None:
    model, shape = small(cls), (3, 12, 10) if cls.n_domains == 1 else ((3, 12, 10), (1, 8, 8))
    networks = model.networks(shape, 2)
    nets = nn.ModuleDict({name: net for name, net in networks.items() if name not in model.training_only}).eval()
    a = Trained(model, shape, nets, {"classes": ["x", "y"]})
    a.save(tmp_path / "w.safetensors")
    b = load_trained(tmp_path / "w.safetensors")
    assert (b.model, b.shape, b.metadata) == (a.model, a.shape, a.metadata)
    assert all(
        torch.equal(p, q) for p, q in zip(a.nets.state_dict().values(), b.nets.state_dict().values(), strict=True)
    )
    if cls.n_domains == 1:
        assert torch.equal(a.sample(3).x, b.sample(3).x)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 16])
@every_model
def test_images_have_1_to_16_channels_of_numbers(cls: type[Model], channels: int) -> None:
    """None of which is alpha: what a model sees and makes comes back in the units of the data."""
    model, array = small(cls), np.random.default_rng(0).normal(1013, 9, (24, channels, 12, 10)).astype(np.float32)
    parts = [from_array(x, np.arange(24) % 5, channels_last=False) for x in (array, 5 - array)]
    data = DomainPair(*parts) if cls.n_domains == 2 else parts[0]
    trained = after_a_step(model, data)
    made = trained.translate(parts[0]) if cls.n_domains == 2 else trained.sample(5)
    numbers = made.numpy()
    assert numbers.shape[1:] == (12, 10, channels)
    assert numbers.dtype == np.float32
    target = array if cls.n_domains == 1 else 5 - array
    assert (numbers >= target.min((0, 2, 3)) - 1e-3).all()
    assert (numbers <= target.max((0, 2, 3)) + 1e-3).all()


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[Model]], Trained]:
    """The small model of a class after four steps on images, which is trained for the first test that asks for it."""

    @cache
    def trained(cls: type[Model]) -> Trained:
        folder, data = tmp_path_factory.mktemp("trained") / "run", sources(cls, image_collection())
        return ganvas.train(small(cls), data, folder=folder, steps=4, batch_size=8, checkpoint_every=2, quiet=True)

    return trained


@every_generator
def test_what_a_model_can_do_after_training(
    cls: type[Model], images: Dataset, trained_once: Callable[[type[Model]], Trained]
) -> None:
    trained = trained_once(cls)
    assert isinstance(trained.model, GenerativeModel)
    assert trained.sample(5).x.shape == (5, 3, 12, 10)
    assert torch.equal(trained.sample(5, seed=1).x, trained.sample(5, seed=1).x)
    assert not torch.equal(trained.sample(5, seed=1).x, trained.sample(5, seed=2).x)
    if isinstance(trained.model, EncoderModel):
        codes = trained.encode(images)
        assert codes.shape == (40, 6)
        nn.Linear(6, 1)(codes).sum().backward()  # a probe can learn from them
        assert trained.reconstruct(images).x.shape == (40, 3, 12, 10)
    else:
        with pytest.raises(UserError, match="gan(gp)? has no encoder"):
            trained.reconstruct(images)


@every_generator
def test_results_do_not_depend_on_what_else_is_in_the_batch(
    cls: type[Model], trained_once: Callable[[type[Model]], Trained]
) -> None:
    """Inference in evaluation mode: no batch statistics, whatever was done in training."""
    trained = trained_once(cls)
    z, y = torch.randn(9, 6), torch.arange(9) % 5
    assert (trained.decode(z, y).x[:2].int() - trained.decode(z[:2], y[:2]).x.int()).abs().max() <= 1


@every_model
def test_every_score_of_a_model_is_a_number_an_example(
    cls: type[Model],
    images: Dataset,
    trained_once: Callable[[type[Model]], Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scores, "INVERSION_STEPS", 5)
    run = trained_once(cls)
    run = run.fit_prior(images, kinds=["gaussian"]) if isinstance(run.model, EncoderModel) else run
    kinds = score_kinds(run)
    assert kinds or cls is ganvas.CUT, "one of a translator that goes one way"
    for kind in kinds:
        values = run.score(images, kind)
        assert values.shape == (len(images),)
        assert values.dtype == torch.float64
        assert values.isfinite().all()
        assert torch.equal(values, run.score(images, kind))


GOLDEN = {
    "autoencoder": {"reconstruction": 31.0303581},
    "vae": {"reconstruction": 99.6512894, "kl": 0.18933641},
    "iwae": {"bound": 99.5373291},
    "betatcvae": {
        "reconstruction": 99.8955246, "information": 3.70318713, "correlation": 110.658463, "dimensions":
        -21.9999428,
    },
    "laddervae": {"reconstruction": 99.4445953, "kl": 0.543471944},
    "gan": {"real": 0.843257642, "fake": 0.557419676, "fool": 0.851571834},
    "dcgan": {"real": 0.886149073, "fake": 0.69214263, "fool": 0.702762842},
    "cgan": {"real": 0.760131198, "fake": 0.711589265, "fool": 0.690917802},
    "wgan": {"real": -0.0102115768, "fake": 0.00113244526, "fool": -0.00130826817},
    "wgangp": {"real": 0.29944391, "fake": -0.023005999, "gp": 1.5467774, "fool": 0.0339360859},
    "r3gan": {"pairs": 0.910894537, "r1": 0.0894307509, "r2": 0.0935295403, "fool": 0.712359679},
    "ctgan": {"real": 0.211233899, "fake": -0.218956201, "gp": 7.84552202, "fool": 0.174408667, "follow": 6.32354898},
    "cyclegan": {
        "fool": 1.73151636, "cycle": 9.20609837, "identity": 4.59063683, "real_A": 0.465202874, "fake_A":
        0.00843673889, "real_B": 0.398001647, "fake_B": 0.0120177741,
    },
    "discogan": {
        "real_A": 0.735225904, "fake_A": 0.742055392, "real_B": 0.727190924, "fake_B": 0.715592122, "fool":
        1.32130008, "constancy": 0.693370152,
    },
    "cut": {
        "real_B": 0.481247181, "fake_B": 0.00935203228, "fool": 0.914945722, "nce": 4.44148836, "identity": 4.44778814,
    },
}  # fmt: skip


@every_model_and_ctgan
@pytest.mark.usefixtures("float64_training")
def test_golden_losses(cls: type[Model], images: Dataset) -> None:
    """Means of each term over the first five steps: a refactoring does not change them."""
    model, data = small(cls, initial_critic_steps=getattr(cls(), "initial_critic_steps", 1)), learnt_by(cls, images)
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    for _ in train(model, data, TrainConfig(steps=5, batch_size=8), state):
        pass
    terms = {name: mean for name, mean in state.meter.pop_means().items() if name not in model.logged_statistics}
    assert terms == pytest.approx(GOLDEN[cls.__name__.lower()], rel=1e-6)


def test_a_move_is_a_sum_of_its_named_terms() -> None:
    terms: dict[str, Tensor] = {"a": torch.tensor(1.5), "b": torch.tensor(-0.5)}
    assert Move((nn.Linear(1, 1),), terms).loss.item() == 1.0
