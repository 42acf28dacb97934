"""Options whose loss nothing else would notice: with another value, what a command makes is another thing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.cli.app import main
from tests.support.data import write_folder

TINY = ["--batch-size", "4", "--width", "4", "--checkpoint-every", "3", "--quiet"]
SHORT = ["--steps", "6", *TINY]


def done(*words: str | Path) -> None:
    assert main(list(map(str, words))) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("effects")


@pytest.fixture(scope="module")
def data(place: Path) -> str:
    """Images of 12 x 10 pixels in two classes, of which one is bright, with a test part."""
    for part, count in (("train", 20), ("test", 8)):
        for kind, low in (("dark", 0), ("bright", 150)):
            (place / "data" / part / kind).mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng(i + low).integers(low, low + 100, (10, 12, 3), np.uint8)
                Image.fromarray(pixels).save(place / "data" / part / kind / f"{part}{i}.png")
    return str(place / "data")


@pytest.fixture(scope="module")
def runs(place: Path, data: str) -> Path:
    """Two runs on the data: a conditional VAE, and one without labels.

    With net=resize pictures hardly differ after six steps.
    """
    done("train", "vae", data, *SHORT, "--latent", "3", "--conditional", "--folder", place / "labelled")
    done("train", "vae", data, *SHORT, "--latent", "3", "--net", "conv", "--folder", place / "vae")
    return place


@pytest.fixture(scope="module")
def usual(place: Path) -> bytes:
    """The weights of a run without options."""
    return weights(place, "usual")


def weights(place: Path, name: str, *words: str, model: str = "vae") -> bytes:
    if not (place / "points.npy").exists():
        np.save(place / "points.npy", np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
    done("train", model, place / "points.npy", *SHORT, "--latent", "2", *words, "--folder", place / name)
    return (place / name / "weights.safetensors").read_bytes().partition(b"}}")[2][-400:]


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "1"], ["--ema-decay", "0"], ["--lr-milestones", "0.3"], ["--lr-milestones", "0.3", "--lr-gamma",
        "0.7"],
        ["--clip-grad-norm", "0.01"], ["--precision", "bfloat16"], ["--lr-decay", "0.9"], ["--lr", "0.1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_option_of_training_changes_the_weights(
    words: list[str], place: Path, usual: bytes, seen: set[bytes]
) -> None:
    made = weights(place, "-".join(words).replace("--", ""), *words)
    assert made != usual
    assert made not in seen
    seen.add(made)


@pytest.fixture(scope="module")
def seen() -> Iterator[set[bytes]]:
    """The weights of earlier options."""
    yield set()  # noqa: PT022


def test_keep_best_also_keeps_the_last_weights(place: Path) -> None:
    for keep, there in (("best", True), ("last", False)):
        weights(place, keep, "--keep", keep, model="gan")
        assert (place / keep / "last.safetensors").exists() == there
        assert json.loads((place / keep / "config.json").read_text())["train_config"]["keep"] == keep


def made(name: str, *words: str | Path) -> np.ndarray:
    done(*words, "--out", f"{name}.npz", "--force")
    with np.load(f"{name}.npz") as archive:
        return archive["x"]


def differ(command: list[Any], *ways: list[str]) -> None:
    """Each way makes something else, and the same when it is made again."""
    arrays = [made("a", *command, *way) for way in ([], *ways)]
    np.testing.assert_array_equal(arrays[-1], made("b", *command, *ways[-1]))
    for i, one in enumerate(arrays):
        assert not [other for other in arrays[:i] if one.shape == other.shape and np.array_equal(one, other)], ways


def test_an_option_of_a_command_changes_what_it_makes(runs: Path, data: str) -> None:
    vae, labelled = runs / "vae", runs / "labelled"
    differ(["sample", vae, "-n", "4"], ["--seed", "1"], ["--seed", "2"])
    differ(["sample", labelled, "-n", "4"], ["--label", "bright"], ["--label", "dark"])
    differ(["interpolate", vae, "--rows", "2"], ["--interpolation", "linear"], ["--seed", "1"])
    differ(
        ["interpolate", vae, data, "--rows", "2"],
        ["--interpolation", "spherical"],
        ["--seed", "1"],
        ["--split", "test"],
    )
    differ(["manifold", labelled, "--side", "3"], ["--label", "dark"])
    between = ["arithmetic", vae, data, "--rows", "2", "--columns", "2"]
    differ([*between, "--add", "bright", "--subtract", "dark"], ["--on", "bright"], ["--strength", "5"])
    there = made("a", *between, "--add", "bright", "--subtract", "dark", "--on", "dark")
    back = made("b", *between, "--add", "dark", "--subtract", "bright", "--on", "dark")
    assert not np.array_equal(there, back)
    np.testing.assert_array_equal(there[:2], back[:2])  # the example, and strength 0


@pytest.mark.parametrize("model", ["vae", "autoencoder"])
def test_a_fitted_prior_changes_samples_and_walks(model: str, data: str) -> None:
    done("train", model, data, *SHORT, "--latent", "3", "--lr", "0.02", "--ema-decay", "0", "--folder", "run")
    done("fit-prior", "run", data, "--kinds", "gaussian,mixture")
    for command in (["sample", "run", "-n", "4"], ["interpolate", "run", "--rows", "2"]):
        kinds = {kind: made("a", *command, "--fitted-prior", kind) for kind in ("standard", "gaussian", "mixture")}
        best = made("a", *command, "--fitted-prior", "best")
        assert [np.array_equal(best, x) for x in kinds.values()].count(True) == 1  # they differ
        assert len({x.tobytes() for x in kinds.values()}) == 3
        np.testing.assert_array_equal(made("a", *command), best)
        differ([*command, "--fitted-prior", "mixture"], ["--seed", "1"])


def test_an_option_of_data_changes_what_is_read(runs: Path, data: str, place: Path) -> None:
    differ(["reconstruct", runs / "vae", data, "-n", "4"], ["--split", "test"], ["--classes", "bright"])
    grey = place / "grey"
    done("train", "vae", data, *SHORT, "--latent", "3", "--size", "8", "--channels", "1", "--folder", grey)
    other = write_folder(place / "other", (8, 8))
    assert made("a", "reconstruct", grey, other).shape[1:] == (8, 8, 1)
    assert main(["reconstruct", str(grey), str(other), "--size", "9"]) == 2
    assert main(["reconstruct", str(grey), str(other), "--channels", "3"]) == 2


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Any:
    capsys.readouterr()
    done(*words, "--json")
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_an_option_of_measuring_changes_the_numbers(runs: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    vae, labelled = str(runs / "vae"), str(runs / "labelled")
    priors = [told(capsys, "fit-prior", vae, data, "--kinds", "gaussian", "--seed", seed) for seed in ("0", "1")]
    assert priors[0]["held_out"] != priors[1]["held_out"]
    options = ["--metrics", "sliced-wasserstein", "--features", "pixels", "--quiet"]
    values = [
        {k: v for k, v in told(capsys, "evaluate", vae, *options, *words).items() if k.startswith("sliced")}
        for words in ([], ["--seed", "1"], ["--fitted-prior", "gaussian"])
    ]
    assert values[0] != values[1]
    assert values[0] != values[2]
    compared = [
        told(capsys, "compare", vae, labelled, *options[:2], "--quiet", "--features", *words)
        for words in (["pixels"], ["pixels", "--seed", "1"], ["random-conv-v1"])
    ]
    assert compared[0]["runs"] != compared[1]["runs"]
    assert compared[0]["features"] != compared[2]["features"]


def test_allow_few_measures_a_frechet_distance_of_few(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(runs / "vae"), "--metrics", "fid", "--features", "random-conv-v1", "-n", "8", "--quiet"]
    assert main(words) == 2
    assert "--allow-few" in capsys.readouterr().err
    assert any(name.startswith("fid") for name in told(capsys, *words, "--allow-few"))


def test_translations_go_to_the_domain_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    done("train", "discogan", "ring", "grid", "--width", "8", "--steps", "3", "--quiet", "--folder", "run")
    np.save("points.npy", np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32))
    for to in ("A", "B"):
        done("translate", "run", "points.npy", f"{to}.npy", "--to", to)
    done("translate", "run", "points.npy", "usual.npy")
    assert not np.array_equal(np.load("A.npy"), np.load("B.npy"))
    np.testing.assert_array_equal(np.load("usual.npy"), np.load("B.npy"))
