"""Every benchmark runs, on as few data and for as few steps as it can, and prints its table."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import ganvas
from ganvas.metrics.features.lenet import double_lenet, lenet

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


class Small(NamedTuple):
    """A small run of a benchmark."""

    words: str
    """its arguments; DATA is a folder with small files named like the real ones"""
    printed: tuple[str, ...]
    constants: dict[str, Any]
    """values in place of the benchmark's own"""


def small(words: str, *printed: str, **constants: Any) -> Small:
    return Small(words, printed, constants)


def small_translator(task: str, name: str) -> dict[str, Any]:
    model = ganvas.DiscoGAN(width=4) if name == "discogan" else ganvas.CycleGAN(width=4, blocks=1)
    return {"model": model, "batch_size": 4, "steps": 2}


GAN, DCGAN = ganvas.GAN(width=8), ganvas.DCGAN(width=4, latent=4)
VAE = ganvas.VAE(net="mlp", width=8, latent=2)
CLASSIFIERS = {"mnist": (lenet, 2, 1), "fashion": (double_lenet, 1, 1)}
LIKELIHOOD: dict[str, int] = {"K": 5, "SEEDS": 1, "ROUNDS": 1, "STEPS": 1}
TWO_RANKS = {"vae 4-8": (VAE, 16, 4, 4)}
MANY_SEEDS = {"gan 2 numbers": (ganvas.GAN(width=8), (2,), 8, 1)}
PICTURES: dict[str, Any] = {
    "N_SAMPLES": 20,
    "MINUTE": 0.01,
    "CONTENDERS": {
        "dcgan": (DCGAN, {"batch_size": 4}),
        "decay": (DCGAN, {"batch_size": 4, "lr_decay": 0.5}),
        "tutorial": (DCGAN, {"batch_size": 4}, "tutorial"),
        "fastgan": (None, {"batch_size": 4, "width": 0.01}, "fastgan"),
    },
}
GROWING_LOG = """
import itertools, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "config.json").write_text((folder.parent / "ended-0" / "config.json").read_text())
for i in itertools.count(1):
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": %d, "seconds": %f, "kl": 1.0}\\n' % (i, i / 50))
    time.sleep(0.02)
"""
QUICK = {name: lambda train, test, seed: test[:, 0] for name in ("ours", "other")}
SWITCHES = {"vae": (VAE, (8, 8, 1), 4)}
SMALL: dict[str, list[Small]] = {
    "adbench": [
        small("DATA/adbench --splits 2", "AUROC, 2 splits", "mean rank, confirmed", "AP, 2 splits", METHODS=QUICK)
    ],
    "anomaly": [
        small(
            *("DATA/mnist.npz --digits 3,4", "autoencoder, AUROC", "mean", "OCGAN, published"),
            MODELS={"autoencoder": (ganvas.Autoencoder(net="mlp", width=8, latent=2), {"steps": 1})},
        )
    ],
    "architectures": [
        small("DATA/mnist.npz --workers 0 --count 2 --steps 1", "quartiles", "R3GAN", "shares.png", N=64, EPOCHS=1)
    ],
    "calls": [small("--steps 1", "calls across files", "evaluate: calls from file to file")],
    "conditional": [
        small(
            *("DATA/mnist.npz --steps 1", "class asked for is seen in", "1-NN error"),
            NETS={"auto": {"width": 4}},
            EPOCHS=1,
            SAMPLES=100,
        )
    ],
    "critic_estimate": [
        small(
            *("DATA/mnist.npz --workers 0 --steps 2 --every 1 --seeds 1", "with Frechet distance", "minimax GAN"),
            N=64,
            EPOCHS=1,
            MODELS={"minimax GAN": GAN, "WGAN": ganvas.WGAN(net="mlp", width=8)},
        )
    ],
    "data": [
        small(
            *("--n 24 --side 8 --batch 8 --rounds 1 --start 0 --million 100 --threads 1", "times the batches"),
            *("second start, s", "most of an epoch"),
            WORKERS=0,
        )
    ],
    "disco_toy": [
        small("--workers 0 --seeds 1 --steps 2 --only 5-both", "5 modes to 10", "toy.png", LEARN=100, TEST=20)
    ],
    "doctor": [
        small(
            *("--workers 0 --only -0", "healthy vae", "speckle", "false alarms: "),
            HEALTHY={"vae": ((VAE, "digits", {"steps": 10}),)},
            SICK={"speckle": ((ganvas.R3GAN(net="conv", width=4, latent=4), "landscapes", {"steps": 10}),)},
        )
    ],
    "fitted_priors": [
        small(
            *("DATA/mnist.npz", "nats per held-out code", "VAE, codes of training images", "samples.png"),
            STEPS=1,
            EPOCHS=1,
            N=50,
            SHOWN=4,
            MODELS={"VAE": VAE},
        )
    ],
    "gan_step_time": [
        small(
            *(f"--steps 1 --rounds 1 --threads 1 --batch 2 --apart {apart} --only {name}", f"{name} channels last"),
            convolution_rate=lambda: 1e9,
        )
        for name, apart in (("dcgan-32", 0), ("wgangp-32", 0), ("r3gan-32", 1))
    ],
    "gpu": [
        small("", "there is no GPU here", find_gpu=lambda: None),
        small(
            *(
                "--steps 1 --rounds 1",
                "ratio  floor  loss difference, 3 steps",
                "graph=on has no effect here",
                "bfloat16",
            ),
            find_gpu=lambda: torch.device("cpu"),
            MODELS={"vae": (VAE, (1, 8, 8), 4), "disco": (ganvas.DiscoGAN(width=4), (2,), 4)},
            COMPARED=3,
        ),
    ],
    "floor": [
        small(
            *("--size 16 --channels 1 --rounds 1 --threads 1", "convolutions", "floor, ms"),
            MODELS={"vae": ganvas.VAE, "wgan": ganvas.WGAN},
        )
    ],
    "growth": [
        small(
            *("--rounds 1 --largest 1000 --threads 1", "by the first  floor  2 processes, images/s", "growth.png"),
            BATCHES=(1, 2),
            SIZES=(16,),
            ROUND_IMAGES=4,
            CONV=ganvas.VAE(net="conv", width=2, latent=2),
            MLP=VAE,
        )
    ],
    "likelihood_speed": [small("DATA/binarized_mnist_fixed.npz --images 20", "L_5 of 20", "GFLOP/s of", K=5, STEPS=1)],
    "line_art": [
        small(
            *("DATA/openclipart_64.npz --workers 0 --steps 2 --seeds 1", "luminance", "cut-2-0", "PSNR, dB"),
            N_HELD=8,
            N_A=12,
            MODELS={"cut": ganvas.CUT(width=4, blocks=1)},
        )
    ],
    "many_seeds": [small("--rounds 1", "floor / stacked", "gan 2 numbers", CASES=MANY_SEEDS)],
    "memorisation": [small("", "40 digits: ", " at 4", STEPS={40: 4}, MODEL=GAN)],
    "metric_cost": [small("DATA/mnist.npz --n 200", "kid", "GiB at the peak")],
    "metric_sensitivity": [
        small(
            *("DATA --seeds 2 --n 30", "| `recall` |", "sensitivity.png"),
            DEGREES={"noise": (0, 64), "memorised": (0, 1)},
            TRAIN=100,
        )
    ],
    "mixtures": [
        small("--workers 1 --seeds 1 --steps 2 --only grid-ours", "modes of 25", "PacGAN4, published", "samples.png")
    ],
    "pictures": [
        small(
            *(
                "DATA/mnist.npz --at 1,2 --threads 1 --examples 50",
                "50 of mnist, by minutes",
                "by images",
                "parameters",
                "real",
                "kid.png",
            ),
            *("dcgan-0.png", "decay-0.png", "tutorial-0.png", "fastgan-0.png"),
            **PICTURES,
        ),
        small(
            "DATA/font_upright_italic_32.npz:B --cpu --only fastgan",
            "of font_upright_italic_32-B, by images",
            **PICTURES,
        ),
    ],
    "ranks": [small("--rounds 1 --steps 1", "2 ranks, weak", "floor  all-reduce, ms", JOBS=TWO_RANKS)],
    "sampling": [
        small(
            *("--n 3 --rounds 1 --threads 1", "reading", "floor / whole", "plain loop / whole", "convolutions"),
            CASES={
                "vae": (VAE, (1, 8, 8)),
                "dcgan": (ganvas.DCGAN(width=4, latent=4), (3, 16, 16)),
                "cyclegan": (ganvas.CycleGAN(width=4, blocks=1), ((3, 16, 16), (3, 16, 16))),
            },
        )
    ],
    "stacked_mnist": [
        small("DATA/mnist.npz --steps 1 --only dcgan", "dcgan-1-0, step 1", "PacDCGAN4, published", N=64, SAMPLES=50)
    ],
    "startup": [
        small(
            *("--rounds 1", "beside torch's import", "ganvas sample"),
            COMMANDS={
                "import torch": ("-c", "pass"),
                "ganvas sample": ("-m", "ganvas", "sample", "run", "-n", "4", "--out", "NUMBER.png"),
            },
        )
    ],
    "step_time": [
        small("DATA/mnist.npz --steps 1 --rounds 1 --threads 1", "step without data, ms", "of our step", "pythae")
    ],
    "studio": [
        small(
            *("--pages 3 --runs 1 --seconds 3 --folders 2 --rounds 1", "first page, 3 runs", " events, 0 errors"),
            "memory of the server",
            TRAIN=("-S", "-c", GROWING_LOG),
        )
    ],
    "switches": [
        small(
            *("--rounds 1 --steps 2", "times as fast", "needs an NVIDIA GPU", "no compiler here", "  floor "),
            CASES=SWITCHES,
            ROUND_SECONDS=1e-3,
            missing_compiler=lambda device: "no compiler here",
        )
    ],
    "simulated_tables": [small("--seeds 1 --steps 2", "L_syn / L_test", "identity", "-1.7", N=500)],
    "table_step_time": [
        small("DATA/table.csv --rounds 1 --steps 1 --threads 1", "numbers of a row", "times as fast as plain", BATCH=50)
    ],
    "tables": [
        small(
            *("DATA --seeds 1 --steps 2 --only small", "usefulness", "small, vae", "published"),
            JOBS={"small": ("table.csv", "", "kind", "nothing")},
        )
    ],
    "train_classifiers": [
        small(f"{name} DATA/mnist.npz", "of the test images right", f"lenet-{name}-v1.safetensors", NETS=CLASSIFIERS)
        for name in CLASSIFIERS
    ],
    "streaming": [
        small("--n 40 --side 32 --batch 8 --batches 2 --rounds 1", "ratio  floor / in memory", "%"),
        small("--n 40 --side 32 --batch 8 --batches 2 --rounds 1 --kind png", "40 png of 32 pixels, batch 8"),
    ],
    "translation": [
        small("DATA --workers 0 --only glyphs", "glyphs, B to A", "nearest", "glyphs.png", options_of=small_translator),
        small(
            *("DATA --workers 0 --only angle-discogan-0", "circular RMSE", "taken for sevens"),
            READER_STEPS=2,
            TURNED={"discogan": small_translator("angle", "discogan")},
        ),
    ],
    "translation_step_time": [
        small("--size 16 --width 4 --blocks 1 --steps 1 --rounds 1 --threads 1", "step with data, ms", "floor")
    ],
    "vae_likelihood": [
        small("fixed DATA --epochs 1", "iaf, 1 epochs", "published, -89.9", **LIKELIHOOD),
        small("iwae DATA --epochs 1", "IWAE k=50", "L_5 = ", **LIKELIHOOD),
        small("posteriors DATA --epochs 1", "low-rank", "ms a step  floor", **LIKELIHOOD),
        small("ladder DATA --epochs 1", "ladder 32, 16", "of levels", **LIKELIHOOD),
    ],
    "validation_cost": [small("gan,digits,2 gan,ring,2", "later", "gan,ring,2")],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in place of each benchmark's data."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    parts = {f"x_{part}": random.integers(0, 256, (n, 28, 28), np.uint8) for part, n in (("train", 160), ("test", 80))}
    labels = {f"y_{name[2:]}": np.arange(len(x)) % 10 for name, x in parts.items()}
    for name in ("mnist", "fashion_mnist"):
        np.savez(folder / f"{name}.npz", **parts, **labels)  # type: ignore[arg-type]
    bits = {f"bits_{part}": random.integers(0, 256, (n, 98), np.uint8) for part, n in (("train", 120), ("test", 50))}
    np.savez(folder / "binarized_mnist_fixed.npz", **bits)  # type: ignore[arg-type]
    glyphs = {name: random.integers(0, 256, (600, 32, 32), np.uint8) for name in "AB"}
    np.savez(folder / "font_upright_italic_32.npz", **glyphs, family=np.arange(600) % 24)  # type: ignore[arg-type]
    np.savez(folder / "openclipart_64.npz", x_train=random.integers(0, 256, (40, 64, 64, 4), np.uint8))  # type: ignore[arg-type]
    words = [f"{x:.3f},{'ab'[i % 2]},{'xyz'[i % 3]}" for i, x in enumerate(random.normal(size=200))]
    (folder / "table.csv").write_text("number,letter,kind\n" + "\n".join(words))
    (folder / "adbench").mkdir()
    table, is_outlier = random.normal(size=(30, 3)), np.arange(30) % 5 == 0
    for name in ("4_breastw", "6_cardio"):
        np.savez(folder / "adbench" / f"{name}.npz", X=table, y=is_outlier.astype(int))
    return folder


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Benchmarks import helpers by name, and may change how many threads there are."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads, before = torch.get_num_threads(), set(sys.modules)
    yield
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name in NAMES or name.startswith("_"):
            del sys.modules[name]


def test_every_benchmark_has_a_small_run() -> None:
    assert sorted(SMALL) == NAMES


@pytest.mark.parametrize(
    ("name", "run"),
    [pytest.param(name, run, id=f"{name} {run.words}") for name, runs in SMALL.items() for run in runs],
)
def test_a_benchmark_prints_its_table(
    name: str, run: Small, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name)
    for constant, value in run.constants.items():
        assert hasattr(module, constant)
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(sys, "argv", [name, *run.words.replace("DATA", str(data)).split()])
    module.main()
    output = capsys.readouterr().out
    assert [part for part in run.printed if part not in output] == [], output


def test_an_interrupted_benchmark_goes_on_after_the_runs_that_have_ended(tmp_path: Path) -> None:
    """A run is kept as soon as it ends, though a later one does not, and is not computed again."""
    collect, computed = importlib.import_module("_support").collect, list[str]()

    def work(name: str, is_interrupted: bool) -> dict[str, Any]:
        computed.append(name)
        if is_interrupted:
            raise KeyboardInterrupt
        return {"value": name}

    for is_interrupted in (True, False):
        with pytest.raises(KeyboardInterrupt) if is_interrupted else nullcontext():
            results = collect(work, {"a": ("a", False), "b": ("b", is_interrupted)}, tmp_path, 0)
    assert computed == ["a", "b", "b"]
    assert {name: result["value"] for name, result in results.items()} == {"a": "a", "b": "b"}


def test_pictures_are_the_first_images_of_an_archive_or_those_that_are_named(tmp_path: Path) -> None:
    load_images, x = importlib.import_module("pictures").load_images, np.zeros((2, 8, 8, 4), np.uint8)
    np.savez(tmp_path / "emoji.npz", code=np.array(["a", "b"]), flat=x, round=x + 9)
    named = {key: load_images(f"{tmp_path}/emoji.npz{key}") for key in ("", ":flat", ":round")}
    assert {key: (data.name, data.x.amax().item()) for key, data in named.items()} == {
        "": ("emoji", 0), ":flat": ("emoji", 0), ":round": ("emoji-round", 9),
    }  # fmt: skip
    assert [named[""].shape, load_images(f"{tmp_path}/emoji.npz", 4).shape] == [(4, 8, 8), (4, 4, 4)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("DATA/mnist.npz --only dcgen", "no dcgen among"),
        ("DATA/mnist.npz --at 0,1", "minutes are positive numbers"),
        ("ring", "holds vectors"),
        ("DATA/few.npz", "few has 30 images"),
        ("DATA/wide.npz", "fastgan is for square images of 16 to 64 pixels"),
    ],
)
def test_pictures_says_what_it_cannot_compare_before_it_trains(
    words: str, said: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(data / "wide.npz", x=np.zeros((40, 32, 64), np.uint8))
    np.savez(data / "few.npz", x=np.zeros((30, 32, 32), np.uint8))
    monkeypatch.setattr(sys, "argv", ["pictures", *words.replace("DATA", str(data)).split()])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module("pictures").main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 32, 32), (3, 64, 64)], ids=str)
def test_every_weight_of_fastgan_learns(shape: tuple[int, ...]) -> None:
    fastgan = importlib.import_module("_fastgan").FastGAN(shape, 0.02)
    before = [weight.clone() for net in (fastgan.G, fastgan.D) for weight in net.parameters()]
    next(fastgan.steps(iter([2 * torch.rand(8, *shape) - 1])))
    after = [weight for net in (fastgan.G, fastgan.D) for weight in net.parameters()]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert fastgan.samples(torch.randn(3, 256)).shape == (3, *shape)
