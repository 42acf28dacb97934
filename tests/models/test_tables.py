"""What every model that learns tables owes them: finite losses, files that come back, samples by seed, exact resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import DomainPair, fit_scaling, make_stream
from ganvas.data.tables.table import Table
from ganvas.errors import UserError
from ganvas.inference.sampling import sample_examples
from ganvas.inference.scores import score_kinds
from ganvas.models import MODELS
from ganvas.training.loop import initialize_state, train
from tests.support.models import small
from tests.support.tables import table_collection

CPU = torch.device("cpu")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {})
    for name in ("autoencoder", "vae", "iwae", "betatcvae", "laddervae", "gan", "wgan", "wgangp", "r3gan", "ctgan")
} | {
    f"vae, {posterior}": ("vae", {"posterior": posterior}) for posterior in ("full", "low-rank", "iaf")
} | {
    "vae, vamp": ("vae", {"prior": "vamp", "pseudo_inputs": 5}),
    "gan, hinge": ("gan", {"pack": 2, "loss": "hinge", "spectral_norm": True}),
}  # fmt: skip
GOLDEN: dict[str, dict[str, float]] = {
    "autoencoder": {"reconstruction": 4.97891665},
    "vae": {"reconstruction": 4.49974426, "kl": 0.54091541},
    "iwae": {"bound": 4.76488209},
    "betatcvae": {
        "reconstruction": 4.53657532, "information": 4.71477922, "correlation": 143.682668, "dimensions": -27.9103889,
    },
    "laddervae": {"reconstruction": 4.57357168, "kl": 0.645584504},
    "gan": {"real": 0.744996667, "fake": 0.643863668, "fool": 0.746890346},
    "wgan": {"real": 0.0253537452, "fake": -0.0263312271, "fool": 0.00980767142},
    "wgangp": {"real": 0.102303668, "fake": -0.100865188, "gp": 8.85975917, "fool": 0.101887884},
    "r3gan": {"pairs": 0.692879915, "r1": 0.00209269199, "r2": 0.00159202113, "fool": 0.693412761},
    "ctgan": {"real": 0.208170441, "fake": -0.211552414, "gp": 7.7713894, "fool": 0.171616428, "follow": 6.84650914},
    "vae, full": {"reconstruction": 4.58322652, "kl": 0.300709953},
    "vae, low-rank": {"reconstruction": 4.77967087, "kl": 0.359802673},
    "vae, iaf": {"reconstruction": 4.78097804, "kl": 0.490698477},
    "vae, vamp": {"reconstruction": 4.50008059, "kl": 0.313816776},
    "gan, hinge": {"real": 1.12248043, "fake": 0.893861999, "fool": 0.108746968},
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES)
OPTIONS: dict[str, Any] = {"batch_size": 8, "checkpoint_every": 2, "device": "cpu", "quiet": True, "report": "off"}


@pytest.fixture
def table() -> Table:
    return table_collection()


def model_of(case: str) -> Any:
    name, fields = CASES[case]
    return small(MODELS[name], **{"initial_critic_steps": 1} | fields)


def equal(a: Tensor, b: Tensor) -> bool:
    """A missing value, which is NaN, equals another."""
    return torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))


@every_case
@pytest.mark.usefixtures("float64_training")
def test_golden_losses(case: str, table: Table) -> None:
    """Means of each term over the first three steps: a refactoring does not change them."""
    model = model_of(case)
    model.validate_data(table)
    data = model.preprocess(table)
    state = initialize_state(model, data.shape, 0, CPU)
    for _ in train(model, data, TrainConfig(steps=3, batch_size=8), state):
        pass
    terms = {name: mean for name, mean in state.meter.pop_means().items() if name not in model.logged_statistics}
    assert terms == pytest.approx(GOLDEN[case], rel=1e-6)


@every_case
def test_a_run_comes_back_and_goes_on(case: str, table: Table) -> None:
    """Saved, loaded and sampled; a run that was stopped becomes the run that was not, bit for bit."""
    model = model_of(case)
    options = OPTIONS | ({"keep": "last"} if model.keep_best_checkpoint else {})
    whole = ganvas.train(model, table, folder="whole", steps=4, **options)
    ganvas.train(model, table, folder="part", steps=2, **options)
    resumed = ganvas.resume("part", table, steps=4, quiet=True)
    loaded = ganvas.load("whole")
    for other in (resumed, loaded):
        weights = other.nets.state_dict()
        assert all(torch.equal(v, weights[k]) for k, v in whole.nets.state_dict().items())
    x = sample_examples(whole, 7, seed=1).x
    assert x.shape == (7, 4)
    assert x.dtype == torch.float64
    for one in (resumed, loaded):
        assert equal(sample_examples(one, 7, seed=1).x, x)
    assert equal(sample_examples(loaded, 3, seed=1).x, x[:3])
    assert not equal(sample_examples(loaded, 7, seed=2).x, x)
    children, town = x[:, 1], x[:, 2]
    assert set(children.tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert set(town.nan_to_num(0).tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert sorted(path.name for path in Path("whole/previews").iterdir())[-1] == "0000004.png"
    if score_kinds(whole)[0] in ("likelihood", "reconstruction"):
        assert whole.score(table).isfinite().all()


@every_case
def test_a_preview_shows_rows(case: str, table: Table) -> None:
    model = model_of(case)
    data = model.preprocess(table)
    nets = {name: net.eval() for name, net in model.networks(data.shape).items() if name not in model.training_only}
    rows = model.preview(next(make_stream(data, fit_scaling(data, model), batch=6, seed=0)), **nets)
    assert rows.shape[1:] == (6, *data.shape)


REFUSED = [
    ("dcgan", {}, "dcgan needs images"), ("cgan", {}, "people has no labels"),
    ("vae", {"conditional": True}, "people has no labels"), ("vae", {"geco": 0.1}, "geco=0.1 has no effect on tables"),
    ("vae", {"sigma": "learned"}, "sigma=learned has no effect on tables"),
    ("autoencoder", {"net": "conv"}, "net=conv needs images"), ("vae", {"augment": ("flip",)}, "changes images"),
    ("ctgan", {"pack": 3}, "cannot be packed by pack=3"), ("ctgan", {"gp": 0.0}, "ctgan bounds its critic by gp"),
    ("ctgan", {"generator": torch.nn.Linear(2, 2)}, "leave out `generator`"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "message"), REFUSED, ids=[f"{n}-{'-'.join(f)}" for n, f, _ in REFUSED])
def test_what_has_no_meaning_on_tables_is_refused(
    name: str, fields: dict[str, Any], message: str, table: Table
) -> None:
    own = {"pack": 2} if name == "ctgan" else {}
    with pytest.raises(UserError, match=message):
        ganvas.train(MODELS[name](**own | fields), table, folder="run", steps=1, **OPTIONS)
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["cyclegan", "discogan", "cut"])
def test_translators_refuse_tables(name: str, table: Table) -> None:
    with pytest.raises(UserError, match="translates no tables|compares places of images"):
        MODELS[name]().validate_data(DomainPair(table, table))
