"""Compiled networks: the same losses, state and names, and nothing compiled where that cannot be."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.models import DCGAN, GAN, R3GAN, WGANGP
from ganvas.nn import compilation
from ganvas.nn.compilation import compile_networks, missing_compiler, uncompiled
from ganvas.training.loop import TrainState, initialize_state, train
from tests.support.data import image_collection, learnt_by
from tests.support.models import every_model_and_ctgan, small

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.usefixtures("types_unchecked"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's own, as it compiles
]


@pytest.fixture
def images() -> Dataset:
    return image_collection(n=24, shape=(16, 16, 1))


def trained(model: Model, collection: Dataset, compile_: str, steps: int = 2) -> TrainState:
    data = model.preprocess(learnt_by(type(model), collection))
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    for _ in train(model, data, TrainConfig(steps=steps, batch_size=8, compile=compile_), state):
        pass
    state.meter.fetch()
    return state


@every_model_and_ctgan
def test_compiled_networks_have_the_same_losses(
    cls: type[Model], images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    model = small(cls)
    plain, compiled = (trained(model, images, compile_) for compile_ in ("off", "on"))
    assert counters["stats"]["unique_graphs"] > 0  # an nn.Sequential that compiles itself would not be compiled
    assert compiled.nets.state_dict().keys() == plain.nets.state_dict().keys()
    for name, values in plain.meter.values.items():
        assert compiled.meter.values[name][0] == pytest.approx(values[0], rel=1e-5, abs=1e-6), name
        assert compiled.meter.values[name] == pytest.approx(values, rel=2e-3, abs=2e-3), name


@pytest.mark.parametrize(
    "model", [WGANGP(width=4, latent=4, n_critic=1, initial_critic_steps=1), R3GAN(width=4, latent=4)]
)
def test_gradients_of_gradients_are_those_of_networks_that_are_not_compiled(
    model: Model, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")  # its code cannot be differentiated twice
    plain, compiled = (trained(model, images, compile_) for compile_ in ("off", "on"))
    assert counters["stats"]["unique_graphs"] > 0
    for name, values in plain.meter.values.items():
        assert compiled.meter.values[name] == pytest.approx(values, rel=1e-3, abs=1e-4), name


def test_random_numbers_are_drawn_as_without_compilation(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    model = GAN(net="mlp", width=8, latent=4, dropout=0.5)
    plain, compiled = (trained(model, images, compile_, steps=3) for compile_ in ("off", "on"))
    assert compiled.meter.values["fool"] == pytest.approx(plain.meter.values["fool"], rel=1e-5)


def test_a_compiled_network_shares_the_parameters_of_its_original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    compiled = compile_networks({"D": net})["D"]
    assert list(map(id, compiled.parameters())) == list(map(id, net.parameters()))
    assert compiled is not net
    assert uncompiled(compiled) is net
    assert uncompiled(net) is net
    x = torch.randn(4, 3)
    assert torch.equal(compiled(x), net(x))


def test_a_machine_without_a_compiler_is_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        assert missing_compiler(CPU) == "there is no compiler of C++ such as g++"
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    assert missing_compiler(CPU) is None


def test_dcgan_compiles_each_network_once_a_mode(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    trained(DCGAN(width=4, latent=4), images, "on", steps=4)
    assert counters["stats"]["unique_graphs"] <= 4  # G without and with gradients, D for its own move and for G's
