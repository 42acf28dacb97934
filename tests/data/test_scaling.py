"""Models learn vectors standardised, and give them back in the units of the data."""

import shutil
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import ganvas
from ganvas.data import Dataset, Scaling, Stream, from_array
from ganvas.evaluation import translation
from ganvas.io import safetensors
from ganvas.metrics.features import make_feature_space
from ganvas.model import EncoderModel, GenerativeModel, Model
from ganvas.training import checkpoint, previews
from ganvas.training.loop import initialize_state
from ganvas.training.run_records import read_log
from tests.support.models import IMAGE_MODELS, small
from tests.support.scores import values_of

CPU = torch.device("cpu")
COMPARED = ("sliced_wasserstein", "energy", "marginal_wasserstein", "kid")
UNITS = np.array([1e-3, 1, 9e5])
ORIGINS = np.array([5, 0, -3e6])
VECTORS = [cls for cls in IMAGE_MODELS.values() if cls.n_domains == 1 and cls is not ganvas.DCGAN]
every_model_of_vectors = pytest.mark.parametrize("cls", VECTORS, ids=lambda cls: cls.__name__)


def normals(n: int = 60, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d))


def table(n: int = 60) -> Dataset:
    """Columns whose deviations differ by a factor of a billion, with labels."""
    x = (normals(n) * UNITS + ORIGINS).astype(np.float32)
    return from_array(x, np.arange(n) % 2, name="table")


def test_columns_get_mean_0_and_deviation_1_and_come_back() -> None:
    x = table().x
    scaling = Scaling.fit(x)
    u = scaling(x)
    torch.testing.assert_close(u.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(u.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaling.inverse(u), x, rtol=1e-6, atol=0)
    assert scaling.log_volume == pytest.approx(np.log(x.double().std(0, correction=0).numpy()).sum())


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1.0, 1.0, width=32)), min_size=1, max_size=20),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_any_columns_come_back(rows: list[tuple[float, float]], unit: float) -> None:
    x = torch.tensor(rows) * torch.tensor([1.0, unit])
    scaling = Scaling.fit(x)
    u = scaling(x)
    assert u.isfinite().all()
    torch.testing.assert_close(scaling.inverse(u), x, rtol=1e-5, atol=1e-6 * x.abs().max().item())


@given(st.binary(min_size=12, max_size=48), st.sampled_from([(-1.0, 1.0), (0.0, 1.0)]))
def test_any_pixels_come_back(content: bytes, pixel_range: tuple[float, float]) -> None:
    x = torch.tensor(list(content[: len(content) // 12 * 12]), dtype=torch.uint8).view(-1, 3, 2, 2)
    scaling = Scaling.fit(x, pixel_range)
    assert torch.equal(scaling.inverse(scaling(x)), x)


def test_numbers_far_from_0_keep_their_digits() -> None:
    """In float32 the mean of a million numbers near 16,777,216, which are whole there, would be off by several."""
    x = torch.tensor([[16_777_214.0], [16_777_216.0]]).repeat(100_000, 1)
    scaling = Scaling.fit(x)
    assert scaling.mean.item() == 16_777_215.0
    assert scaling.std.item() == 1.0
    assert scaling(x[:2]).flatten().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("value", [0.0, 0.1, -3e-30, 1990.0, 1e30])
def test_a_column_that_never_changes_counts_in_its_own_size_and_comes_out_as_it_was(value: float) -> None:
    x = torch.tensor([[value, 1.0], [value, 2.0], [value, 4.0]])
    scaling = Scaling.fit(x)
    assert scaling(x)[:, 0].tolist() == [0, 0, 0]
    assert scaling.inverse(torch.tensor([[0.3, 0.0], [-7.0, 0.0]]))[:, 0].tolist() == [x[0, 0].item()] * 2
    other = scaling(torch.tensor([[2 * x[0, 0].item() + (value == 0), 1.0]]))[0, 0].item()
    assert abs(other) == pytest.approx(1.0), "what is twice as large is one unit away"
    assert np.isfinite(scaling.log_volume)


def test_images_are_mapped_to_the_span_alone() -> None:
    x = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    for span in ((-1.0, 1.0), (0.0, 1.0)):
        scaling = Scaling.fit(x, span)
        assert scaling.mean is None
        assert scaling.log_volume == 0
        assert torch.equal(scaling.inverse(scaling(x)), x)


@every_model_of_vectors
def test_samples_have_the_order_of_the_data_and_do_not_depend_on_its_units(cls: type[Model]) -> None:
    """Trained on a x + b, a model makes a times what it makes trained on x, plus b."""
    model, labels = small(cls), np.arange(60) % 2
    plain = from_array(normals().astype(np.float32), labels, name="plain")
    a, b = torch.tensor([2.0**-10, 4.0, 2.0**20]), torch.tensor([1.0, -8.0, 2.0**21])
    scaled = from_array(plain.x * a + b, labels, name="scaled")
    runs = [ganvas.train(model, data, steps=4, batch_size=20, quiet=True, keep="last") for data in (plain, scaled)]
    if isinstance(model, GenerativeModel):
        made = [run.sample(40).x for run in runs]
        torch.testing.assert_close((made[1] - b) / a, made[0], rtol=2e-3, atol=2e-3)
        assert made[0].std(0).max() < 10
    if isinstance(model, EncoderModel):
        codes = [run.encode(data) for run, data in zip(runs, (plain, scaled), strict=True)]
        torch.testing.assert_close(codes[1], codes[0], rtol=2e-3, atol=2e-3)
        rebuilt = [run.reconstruct(data).x for run, data in zip(runs, (plain, scaled), strict=True)]
        torch.testing.assert_close((rebuilt[1] - b) / a, rebuilt[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("model", [ganvas.VAE(latent=2, width=8), ganvas.LadderVAE(latents=(2, 1), width=8)])
def test_likelihoods_are_of_the_data_in_their_own_units(model: ganvas.VAE) -> None:
    """log p(a x + b) = log p(x) - log a, for the ELBO, its first term, the bound and bits alike."""
    x = from_array(normals().astype(np.float32), name="x")
    y = from_array(x.x * 8 + 16, name="y")
    one, other = (
        ganvas.evaluate(
            ganvas.train(model, data, steps=3, batch_size=20, quiet=True),
            data,
            importance_samples=5,
            metrics=("elbo", "bound"),
        )
        for data in (x, y)
    )
    shift = 3 * log(8)
    for name, factor in (("elbo", -1), ("bound", -1), ("reconstruction_nats", 1), ("kl_nats", 0)):
        assert other[name] - one[name] == pytest.approx(factor * shift, abs=1e-3), name
    for name in ("elbo_bits_per_dimension", "bound_bits_per_dimension"):
        assert other[name] - one[name] == pytest.approx(3.0, abs=1e-3), name


def test_bits_stay_bits() -> None:
    """A Bernoulli likelihood is of numbers in [0, 1]: they are no one's units."""
    bits = from_array((normals() > 0).astype(np.float32), name="bits")
    run = ganvas.train(ganvas.VAE(latent=2, width=8, likelihood="bernoulli"), bits, steps=2, batch_size=20, quiet=True)
    assert torch.equal(run.domain_scaling()(bits.x), bits.x)
    assert 0 <= run.sample(50).x.min() <= run.sample(50).x.max() <= 1


def penalties(model: ganvas.R3GAN, data: Dataset) -> Tensor:
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    torch.manual_seed(0)
    stream = Stream(data, batch=20, seed=0, scaling=Scaling.fit(data.x, model.pixel_range))
    move = next(model.step(stream, 0, **dict(state.nets.items())))
    return torch.stack([value for name, value in sorted(move.terms.items()) if name in ("r1", "r2", "gp")])


@pytest.mark.parametrize("model", [
    ganvas.R3GAN(latent=3, width=8, r1=1, r2=1), ganvas.WGANGP(latent=3, width=8), ganvas.GAN(latent=3, r1=1, r2=1),
    ganvas.CGAN(latent=3, width=8, r1=1), ganvas.R3GAN(latent=3, width=8, r1=1, pack=2),
])  # fmt: skip
def test_penalties_are_on_the_gradient_by_what_d_sees(model: ganvas.R3GAN) -> None:
    data = from_array(normals().astype(np.float32), np.arange(60) % 2, name="x")
    large = from_array(data.x * 128, np.arange(60) % 2, name="large")
    torch.testing.assert_close(penalties(model, large), penalties(model, data), rtol=1e-4, atol=1e-7)


def resumed(model: Model, data: object, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a run, and those of the same run killed before its first checkpoint and resumed."""
    ganvas.train(model, data, steps=5, batch_size=8, folder=folder / "whole", quiet=True)
    shutil.copytree(folder / "whole", folder / "killed")
    for file in (folder / "killed").iterdir():
        if file.name != "config.json":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    ganvas.resume(folder / "killed", data=data, quiet=True)
    whole, killed = (load_file(folder / name / "weights.safetensors") for name in ("whole", "killed"))
    return whole, killed


@pytest.mark.parametrize("cls", [ganvas.R3GAN, ganvas.CycleGAN, ganvas.DiscoGAN, ganvas.VAE, ganvas.GAN])
def test_a_run_killed_before_its_first_checkpoint_is_the_same_run_when_resumed(
    cls: type[Model], tmp_path: Path
) -> None:
    other = (normals(50, 2) * [3, 4000] + [1, 9]).astype(np.float32)
    data = (table(), other) if cls.n_domains == 2 else table()
    of_conv = {"blocks": None, "latent": None} if cls.n_domains == 2 else {}
    whole, killed = resumed(small(cls, **of_conv), data, tmp_path)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert "scaling/0/mean" in whole


def test_the_scaling_is_kept_with_the_weights_and_the_checkpoint(tmp_path: Path) -> None:
    run = ganvas.train(
        small(ganvas.VAE), table(), steps=4, batch_size=8, checkpoint_every=2, folder=tmp_path / "run", quiet=True
    )
    again = ganvas.load(tmp_path / "run")
    assert torch.equal(again.scaling[0].mean, run.scaling[0].mean)
    assert torch.equal(again.sample(9).x, run.sample(9).x)
    state = initialize_state(small(ganvas.VAE), (3,), 0, CPU)
    checkpoint.restore(state, tmp_path / "run" / "state.ckpt", small(ganvas.VAE))
    assert torch.equal(state.scaling[0].std, run.scaling[0].std)
    again.save(tmp_path / "copy.safetensors")
    assert torch.equal(ganvas.load(tmp_path / "copy.safetensors").sample(9).x, run.sample(9).x)


def without_scaling(file: Path, rename: dict[str, Tensor]) -> None:
    """A file as it was written when networks saw vectors as they are, or standardised them in layers of their own."""
    header, tensors = safetensors.read_safetensors(file)
    tensors = {name: t for name, t in tensors.items() if not name.startswith("scaling/")} | rename
    safetensors.write_safetensors(file, header, {name: t.clone() for name, t in tensors.items()})


def test_weights_of_models_that_saw_vectors_as_they_are_still_do(tmp_path: Path) -> None:
    run = ganvas.train(small(ganvas.GAN), table(), steps=2, batch_size=8, folder=tmp_path / "run", quiet=True)
    raw = run.scaling[0](run.sample(9).x)
    for name in ("weights.safetensors", "last.safetensors", "state.ckpt"):
        without_scaling(tmp_path / "run" / name, {})
    torch.testing.assert_close(ganvas.load(tmp_path / "run").sample(9).x, raw, rtol=2e-3, atol=2e-3)
    ganvas.resume(tmp_path / "run", steps=4, data=table(), quiet=True)
    assert ganvas.load(tmp_path / "run").sample(9).x.abs().max() < 100, "it goes on as it began"


def test_layers_that_once_standardised_vectors_become_the_scaling(tmp_path: Path) -> None:
    """G of r3gan ended with them, its D began with them."""
    mean, std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 30.0])
    run = ganvas.train(small(ganvas.R3GAN), table(), steps=2, batch_size=8, folder=tmp_path / "run", quiet=True)
    place = len(run.nets["G"])
    without_scaling(tmp_path / "run/weights.safetensors", {f"G.{place}.mean": mean, f"G.{place}.std": std})
    loaded = ganvas.load(tmp_path / "run/weights.safetensors")
    torch.testing.assert_close(loaded.sample(5).x, run.scaling[0](run.sample(5).x) * std + mean, rtol=3e-3, atol=3e-2)
    units = {f"{group}/G.{place}.{name}": t for group in ("nets", "ema") for name, t in (("mean", mean), ("std", std))}
    without_scaling(tmp_path / "run/state.ckpt", units | {"nets/D.0.mean": mean.clone(), "nets/D.0.std": std.clone()})
    state = initialize_state(small(ganvas.R3GAN), (3,), 0, CPU)
    checkpoint.restore(state, tmp_path / "run/state.ckpt", small(ganvas.R3GAN))
    assert torch.equal(state.scaling[0].mean, mean)


def test_a_translators_former_layers_become_the_scaling_of_both_domains(tmp_path: Path) -> None:
    model, other = small(ganvas.CycleGAN, blocks=None), (normals(50, 2) * [3, 4000] + [1, 9]).astype(np.float32)
    run = ganvas.train(model, (table(), other), steps=2, batch_size=8, folder=tmp_path / "run", quiet=True)
    a, b = run.scaling
    place = len(run.nets["G"])
    old = {"G.0": a, f"G.{place}": b, "F.0": b, f"F.{place}": a}
    units = {f"{layer}.{name}": t.clone() for layer, s in old.items() for name, t in (("mean", s.mean), ("std", s.std))}
    without_scaling(tmp_path / "run/weights.safetensors", units)
    loaded = ganvas.load(tmp_path / "run/weights.safetensors")
    assert torch.equal(loaded.translate(table()).x, run.translate(table()).x)
    assert torch.equal(loaded.translate(other, "A").x, run.translate(other, "A").x)
    _, kept = safetensors.read_safetensors(tmp_path / "run/state.ckpt")
    past = kept["nets/DX.past.kept"]
    units = {f"{group}/{name}": t.clone() for group in ("nets", "ema") for name, t in units.items()}
    units |= {
        f"nets/{D}.net.0.{name}": t.clone()
        for D, s in (("DX", a), ("DY", b))
        for name, t in (("mean", s.mean), ("std", s.std))
    }
    without_scaling(tmp_path / "run/state.ckpt", units | {"nets/DX.past.kept": past * a.std + a.mean})
    state = initialize_state(model, ((3,), (2,)), 0, CPU)
    checkpoint.restore(state, tmp_path / "run/state.ckpt", model)
    torch.testing.assert_close(state.nets["DX"].past.kept, past, rtol=2e-3, atol=2e-3)
    assert torch.equal(state.scaling[1].mean, b.mean)


def test_previews_of_vectors_are_in_the_units_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []
    monkeypatch.setattr(
        previews,
        "preview",
        lambda rows, scaling: shown.append(scaling.inverse(rows.flatten(0, 1))) or Image.new("L", (1, 1)),
    )
    ganvas.train(small(ganvas.VAE), table(), steps=1, batch_size=8, quiet=True)
    assert shown[0][:, 2].abs().max() > 1e5
    assert shown[0][:, 0].sub(5).abs().max() < 0.1


def test_a_column_in_large_units_does_not_drown_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples with a wrong small column are as far as samples with a wrong large one, in every distance of vectors."""
    real = table(200)
    wrong = []
    for column in (0, 2):
        x = real.x.clone()
        x[:, column] += 2 * x[:, column].std()
        wrong.append(from_array(x, np.arange(200) % 2, name="generated"))
    space = make_feature_space("values", (3,), scaling=Scaling.fit(real.x))
    assert "deviations" in space.protocol
    found = []
    for made in wrong:
        numbers = values_of(real, made, space, "sliced-wasserstein", "distances", "kid")
        found.append({name: value for name, value in numbers.items() if name in COMPARED})
    assert found[0].keys() == set(COMPARED)
    for name in COMPARED:
        assert found[0][name] == pytest.approx(found[1][name], rel=0.25), name
        assert found[0][name] > 0.1, name
    assert numbers["marginals"][2].value == pytest.approx(2 * real.x[:, 2].std().item(), rel=0.01), "in its unit"


def test_samples_are_measured_in_deviations_while_a_run_trains() -> None:
    x = table(200)
    run = ganvas.train(small(ganvas.GAN), x, steps=2, batch_size=8, checkpoint_every=1, folder="run", quiet=True)
    assert run.scaling
    assert 0 < read_log(Path("run"))[-1]["samples"]["value"] < 10


def test_errors_of_translations_are_in_deviations_of_their_domain() -> None:
    target = table(50)
    made = target.x.clone()
    made[:, 0] += UNITS[0]
    errors = translation.paired_errors(made, target)
    assert errors["l1"] == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize("kind", ["run", "weights", "trained"])
def test_a_run_that_begins_with_old_weights_sees_examples_as_they_did(kind: str, tmp_path: Path) -> None:
    old = ganvas.train(small(ganvas.VAE), table(), steps=2, batch_size=8, folder=tmp_path / "old", quiet=True)
    start = {"run": str(tmp_path / "old"), "weights": str(tmp_path / "old/weights.safetensors"), "trained": old}[kind]
    other = from_array(table().x * 2 + 1, np.arange(60) % 2, name="other")
    new = ganvas.train(small(ganvas.VAE, lr=1e-9), other, steps=1, batch_size=8, init_from=start, quiet=True)
    assert torch.equal(new.scaling[0].mean, old.scaling[0].mean)
    a, b = (run.sample(9, fitted_prior="standard").x for run in (new, old))
    torch.testing.assert_close(a, b, rtol=0.1, atol=0.1)
