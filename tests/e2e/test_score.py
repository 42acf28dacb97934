"""`ganvas score`: tables, pages and pictures, p-values by held-out examples, each option's effect, bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.cli.score import describe
from ganvas.evaluation.anomalies import score_examples
from ganvas.metrics.conformal import conformal_p_values
from tests.support.cli import TINY, said, told
from tests.support.data import image_collection, write_folder

AE = ["train", "autoencoder", *TINY, "--quiet"]


@pytest.fixture
def run() -> str:
    """An autoencoder of the digits, which have a test split."""
    assert main([*AE[:2], "digits", *AE[2:], "--folder", "run"]) == 0
    return "run"


def table(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_row_an_example(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["score", run, "digits", "--split", "test"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(Path("run/scores.csv"))
    rows, trained, test = table("run/scores.csv"), ganvas.load(run), ganvas.DataOptions(split="test")
    scores = trained.score("digits", options=test)
    assert [float(row["score"]) for row in rows] == scores.tolist()
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    p = conformal_p_values(scores, scores)
    assert [float(row["p_value"]) for row in rows] == p.tolist()
    assert [row["anomaly"] for row in rows] == [str(x <= 0.05).lower() for x in p.tolist()]
    assert f"{(p <= 0.05).sum()} of {len(rows)} examples are anomalies, with p at most 0.05" in err
    assert {row["class"] for row in rows} == set("0123456789")
    assert said(capsys, "score", run, "digits", "--quiet") == str(Path("run/scores-2.csv"))


def test_examples_of_a_folder_have_the_names_of_their_files(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(Path("pets"))
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main([*AE[:2], str(folder), *AE[2:], "--folder", "run"]) == 0
    found = told(capsys, "score", "run", str(folder), "--classes", "dog,cat", "--out", "s.csv")
    rows = table("s.csv")
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(6)]
    assert [row["file"] for row in rows] == names == [row["file"] for row in found["rows"]]
    assert all(row["class"] == row["file"][:3] for row in rows)
    assert {row["p_value"] for row in rows} == {""}
    only = told(capsys, "score", "run", str(folder), "--classes", "dog", "--out", "d.csv")
    dogs = [row for row in found["rows"] if row["class"] == "dog"]
    assert [row["file"] for row in only["rows"]] == [row["file"] for row in dogs]
    assert [row["score"] for row in only["rows"]] == pytest.approx([row["score"] for row in dogs], rel=1e-5)


def test_without_held_out_examples_there_are_no_p_values(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(Path("pets"))
    assert main([*AE[:2], str(folder), *AE[2:], "--folder", "run"]) == 0
    capsys.readouterr()
    assert main(["score", "run", str(folder), "--out", "a.csv"]) == 0
    assert "no p-values: the run held out no examples; --calibrate DATA gives" in capsys.readouterr().err
    assert main(["score", "run", str(folder), "--out", "b.csv", "--threshold", "0.1"]) == 2
    assert "--threshold is of p-values, and there are none" in capsys.readouterr().err
    assert not Path("b.csv").exists()
    np.save("others.npy", np.random.default_rng(1).integers(0, 256, (30, 8, 9, 3), np.uint8))
    found = told(
        capsys, "score", "run", str(folder), "--out", "c.csv", "--calibrate", "others.npy", "--threshold", "0.3"
    )
    run = ganvas.load("run")
    p = conformal_p_values(run.score(folder), run.score("others.npy"))
    assert [row["p_value"] for row in found["rows"]] == p.tolist()
    assert found["anomalies"] == (p <= 0.3).sum()
    assert (found["calibration"], found["calibration_examples"]) == ("others", 30)


def test_what_cannot_be_read_again_leaves_scores(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads(Path("run/config.json").read_text())
    config["data"]["source"] = str(Path("gone").resolve())
    Path("run/config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert main(["score", run, "digits"]) == 0
    assert "no p-values: cannot read again what run was trained on" in capsys.readouterr().err


def test_pages_and_pictures_show_the_ends(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "score", run, "digits", "--split", "test", "--out", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 24
    assert ", class 1" in page
    by_score = sorted(found["rows"], key=lambda row: -row["score"])
    assert page.index(f"score {by_score[0]['score']:.4g}") < page.index("The most ordinary")
    assert page.index(f"score {by_score[-1]['score']:.4g}") > page.index("The most ordinary")
    assert main(["score", run, "digits", "--split", "test", "--out", "picture.png"]) == 0
    with Image.open("picture.png") as picture:
        assert picture.width > 500


def test_small_numbers_below_pictures_have_no_powers_of_ten() -> None:
    assert describe({"file": "a.png", "score": 1.5e-5, "p_value": 2e-5, "anomaly": True}) == {
        "name": "a.png", "text": "score 0.000015, p 0.00002, anomaly"
    }  # fmt: skip


def test_a_heat_map_is_the_squared_error_of_a_pixel() -> None:
    """The page of an example whose strangeness is known: one pixel."""
    from ganvas.evaluation.anomalies import shown_errors

    data = image_collection(5, (8, 8, 4))
    run = ganvas.train(ganvas.Autoencoder(latent=2, width=4), data, steps=2, batch_size=4, quiet=True)
    x, r, error = shown_errors(run, data, "reconstruction")
    assert x.shape == r.shape == (5, 3, 8, 8)
    assert error.flatten(1).mean(1).tolist() == pytest.approx(run.score(data).tolist())
    gan = ganvas.train(ganvas.GAN(latent=2, width=4), data, steps=1, batch_size=4, quiet=True)
    _, _, error = shown_errors(gan, data, "inversion")
    assert error.flatten(1).mean(1).tolist() == pytest.approx(gan.score(data).tolist(), rel=1e-4)


def test_options_change_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vae", "digits", *TINY, "--quiet", "--folder", "run"]) == 0
    assert main(["fit-prior", "run", "--kinds", "gaussian", "--quiet"]) == 0
    ways: list[list[str]] = [
        ["--score", "likelihood"], ["--score", "likelihood", "-k", "3"], ["--score", "likelihood", "--seed", "1"],
        ["--score", "elbo"], ["--score", "code"], ["--score", "reconstruction"],
    ]  # fmt: skip
    found = [told(capsys, "score", "run", "digits", "--split", "test", *w, "--quiet") for w in ways]
    means = [np.mean([row["score"] for row in result["rows"]]) for result in found]
    assert len(set(means)) == len(ways)
    assert [result["score"] for result in found[2:]] == ["likelihood", "elbo", "code", "reconstruction"]
    assert told(capsys, "score", "run", "digits", "--split", "test", "--quiet")["rows"] == found[4]["rows"]


def test_a_translator_scores_the_domain_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name in ("a.npy", "b.npy"):
        np.save(name, random.normal(size=(300, 2)).astype(np.float32))
    train = ["train", "cyclegan", "a.npy", "b.npy", "--width", "8", "--steps", "2", "--quiet", "--folder", "run"]
    assert main([*train, "--holdout", "0.1"]) == 0
    found = {to: told(capsys, "score", "run", name, "--to", to) for to, name in (("B", "a.npy"), ("A", "b.npy"))}
    for to, name in (("B", "a.npy"), ("A", "b.npy")):
        scores = [row["score"] for row in found[to]["rows"]]
        assert scores == ganvas.load("run").score(name, to=to).tolist()
        assert found[to]["calibration_examples"] > 0
    Path("b.npy").unlink()  # which p-values of the other domain do not need
    assert score_examples("run", "a.npy").n_calibration == found["B"]["calibration_examples"]


def test_a_discriminator_scores_from_the_checkpoint_or_from_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "dcgan", "digits", *TINY, "--quiet", "--keep", "last"]
    for name, more in (("plain", []), ("keeps", ["--keep-discriminator"])):
        assert main([*words, *more, "--folder", name]) == 0
    score = ["digits", "--score", "discriminator", "--split", "test"]
    found = told(capsys, "score", "plain", *score)
    assert found["calibration_examples"] == len(found["rows"])
    assert 0 < min(row["p_value"] for row in found["rows"]) < 0.01
    for name in ("plain", "keeps"):
        Path(name, "state.ckpt").unlink()
    assert told(capsys, "score", "keeps", *score)["rows"] == found["rows"]
    assert main(["score", "plain", *score]) == 2
    err = capsys.readouterr().err
    assert "state.ckpt is not in plain: train with --keep-discriminator to keep it with the weights" in err


def test_ordinary_examples_raise_five_false_alarms_in_a_hundred() -> None:
    """A run with its own held-out part, and fresh examples from where its own are from."""
    random = np.random.default_rng(0)
    x = random.normal(size=(30_000, 3)).astype(np.float32) @ random.normal(size=(3, 6)).astype(np.float32)
    np.save("learnt.npy", x[:20_000])
    model = ganvas.Autoencoder(latent=2, width=8)
    run = ganvas.train(model, "learnt.npy", steps=30, holdout=0.3, quiet=True)
    found = score_examples(run, x[20_000:])
    assert found.p_values is not None
    assert found.n_calibration == pytest.approx(6000, rel=0.05)
    assert (found.p_values <= 0.05).double().mean().item() == pytest.approx(0.05, abs=0.01)
    strange = score_examples(run, 3 * x[20_000:])
    assert strange.p_values is not None
    assert (strange.p_values <= 0.05).double().mean() > 0.3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--score", "elbo"], "this autoencoder has no score 'elbo'. It has: reconstruction, code"),
        (["--score", "code"], "no prior was fitted to this autoencoder's codes: run ganvas fit-prior"),
        (["--threshold", "0"], "--threshold 0 is no share of false alarms: give a number between 0 and 1"),
        (["--threshold", "nan"], "--threshold nan is no share"),
        (["-k", "3"], "--importance-samples is of the score likelihood, and this is reconstruction: leave it out"),
        (["--out", "scores.txt"], "cannot write scores.txt: end its name in .csv, .html or .png"),
        (["--calibrate", "nowhere"], "no data"),
        (["--to", "C"], "--to"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], sentence: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["score", run, "digits", *words]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""
    assert err.count("ganvas: ") == 1


def test_pictures_of_vectors_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "autoencoder", "ring", *TINY, "--quiet", "--folder", "run"]) == 0
    assert main(["score", "run", "ring", "--out", "s.png"]) == 2
    assert "vectors are no pictures: write their scores to s.csv instead" in capsys.readouterr().err


def test_nothing_is_overwritten_unless_asked(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text("mine")
    assert main(["score", run, "digits", "--out", "s.csv"]) == 2
    assert Path("s.csv").read_text() == "mine"
    assert "s.csv exists" in capsys.readouterr().err
    assert main(["score", run, "digits", "--out", "s.csv", "--force"]) == 0
    assert len(table("s.csv")) > 1000


def test_few_held_out_examples_mark_nothing_and_say_so(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("few.npy", np.random.default_rng(1).integers(0, 256, (9, 8, 8), np.uint8))
    capsys.readouterr()
    assert main(["score", run, "digits", "--calibrate", "few.npy"]) == 0
    err = capsys.readouterr().err
    assert "by 9 held-out examples p is never below 0.1: no example can be an anomaly" in err
    assert "0 of " in err


def test_who_has_no_prior_is_told_of_the_score_that_needs_one(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", run, "digits"]) == 0
    assert "ganvas fit-prior run adds a score, code" in capsys.readouterr().err
    assert main(["fit-prior", run, "--kinds", "gaussian"]) == 0
    capsys.readouterr()
    assert told(capsys, "score", run, "digits")["score"] == "code"
    assert main(["score", run, "digits"]) == 0
    assert "fit-prior" not in capsys.readouterr().err


def test_whoever_scores_what_the_run_has_learnt_from_is_told(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, is_told in ((["digits"], True), (["digits", "--split", "test"], False)):
        capsys.readouterr()
        assert main(["score", run, *words]) == 0
        assert ("the run has learnt from these examples" in capsys.readouterr().err) == is_told
