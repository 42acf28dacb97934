"""Exploring models from the page: pictures of codes, maps, walks, what is sent, neighbours, strange examples."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

import ganvas
from ganvas.explore import lerp, measure_usage
from ganvas.inference.trained import load_trained
from ganvas.lecture.chapter import Parameters
from ganvas.lecture.recordings import record
from ganvas.randomness import generators
from ganvas.studio import explorer
from ganvas.studio.app import make_app
from ganvas.studio.settings import Settings
from ganvas.viz.images import Examples
from ganvas.web import guard
from tests.support.lecture import small_chapter
from tests.support.studio import write_run

HEADERS = {guard.HEADER: "1"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE, a conditional GAN, a translator and a VAE of vectors, each after few steps."""
    folder = tmp_path_factory.mktemp("explored")
    random = np.random.default_rng(0)
    for name in ("x", "a", "b"):
        values = random.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", x=values, y=np.arange(24) % 2)
    np.save(folder / "v.npy", random.normal(size=(40, 3)).astype(np.float32))
    tiny = {"steps": 2, "batch_size": 4, "quiet": True}
    x, v = str(folder / "x.npz"), str(folder / "v.npy")
    ganvas.train(ganvas.VAE(latent=4, width=4), x, folder=folder / "vae", **tiny)
    lively = {"steps": 8, "ema_decay": 0.0, "keep": "last"}
    ganvas.train(ganvas.CGAN(latent=4, width=4, lr=0.1), x, folder=folder / "cgan", **tiny | lively)
    ganvas.train(ganvas.VAE(latent=2, width=4), v, folder=folder / "points", **tiny)
    pair = (str(folder / "a.npz"), str(folder / "b.npz"))
    ganvas.train(ganvas.CycleGAN(width=4), pair, folder=folder / "cycle", **tiny | {"batch_size": 1})
    return folder


@pytest.fixture
def client(runs: Path) -> Iterator[TestClient]:
    explorer.explorers.clear()
    yield TestClient(make_app(Settings(runs, (runs,))), base_url="http://127.0.0.1", headers=HEADERS)
    explorer.explorers.clear()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"))


def png(size: int = 8, mode: str = "RGB") -> bytes:
    file = BytesIO()
    Image.new(mode, (size, size), "red").save(file, "PNG")
    return file.getvalue()


def test_the_picture_is_that_of_the_code(client: TestClient, runs: Path) -> None:
    trained = ganvas.load(runs / "vae")
    model = explorer.open_explorer(runs / "vae")
    z = model.base_code(3)
    z[:, 2] = 1.5
    expected = pixels(explorer_png(trained.decode(z)))
    shown = client.get("/explore/vae/picture.png?seed=3&z=2:1.5").content
    np.testing.assert_array_equal(pixels(shown), expected)
    assert not np.array_equal(pixels(client.get("/explore/vae/picture.png?seed=3&z=2:-2.5").content), expected)


def explorer_png(examples: Examples) -> bytes:
    return examples._repr_png_()


def test_the_map_and_the_sliders_agree(client: TestClient, runs: Path) -> None:
    model = explorer.open_explorer(runs / "vae")
    plane = model.plane(model.base_code(0), 1, 3, 3, None)
    for row, v in enumerate((3.0, 0.0, -3.0)):
        for column, u in enumerate((-3.0, 0.0, 3.0)):
            one = model.decode(model.moved_code(model.base_code(0), {1: u, 3: v}), None)
            torch.testing.assert_close(plane.x[3 * row + column].int(), one.x[0].int(), atol=1, rtol=0)
    assert client.get("/explore/vae/map.png?across=1&up=3&side=3").status_code == 200


def test_walks_end_at_their_ends(client: TestClient, runs: Path) -> None:
    model = explorer.open_explorer(runs / "vae")
    first, last = model.base_code(1), model.base_code(2)
    walk = model.walk(first, last, 5, None, False)
    torch.testing.assert_close(walk.x, model.decode(lerp(first, last, 5)[0], None).x)
    strip = client.get("/explore/vae/walk.png?first=1&last=2&columns=5")
    assert strip.headers["content-type"] == "image/png"
    moving = Image.open(BytesIO(client.get("/explore/vae/walk.webp?first=1&last=2&columns=5").content))
    assert moving.n_frames == 8  # there and back
    assert client.get("/explore/vae/walk.exe").status_code == 422


def test_classes_can_be_asked_for(client: TestClient) -> None:
    page = client.get("/explore/cgan").text
    assert 'data-label="0"' in page
    a, b = (client.get(f"/explore/cgan/picture.png?seed=1&label={c}").content for c in (0, 1))
    assert not np.array_equal(pixels(a), pixels(b))
    assert "there is no class" in client.get("/explore/cgan/picture.png?label=cat").json()["error"]


def test_a_picture_that_is_sent_has_a_code(client: TestClient, runs: Path) -> None:
    sent = client.post("/explore/vae/upload", content=png(20)).json()
    assert sent["picture"].startswith("data:image/png;base64,")
    assert len(sent["places"]) == 4
    shown = client.get(f"/explore/vae/picture.png?upload={sent['upload']}").content
    z = explorer.open_explorer(runs / "vae").uploads[sent["upload"]]
    np.testing.assert_array_equal(pixels(shown), pixels(explorer_png(ganvas.load(runs / "vae").decode(z))))
    assert client.get(f"/explore/vae/walk.png?first={sent['upload']}&last=0").status_code == 200
    assert "send it again" in client.get("/explore/vae/picture.png?upload=0123").json()["error"]
    assert client.get("/explore/vae/walk.png?first=2147483647&last=0").status_code == 200
    assert client.get("/explore/vae/walk.png?first=-1&last=0").json()["error"].startswith("'-1' is no picture")


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:40], b"GIF89a" + bytes(20)])
@pytest.mark.parametrize("address", ["/explore/vae/upload", "/explore/cycle/translate"])
def test_what_is_no_picture_gets_a_sentence(client: TestClient, content: bytes, address: str) -> None:
    answer = client.post(address, content=content)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_a_bomb_gets_a_sentence(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert client.post("/explore/vae/upload", content=png(64)).status_code == 422


def test_neighbours_are_the_nearest(client: TestClient, runs: Path) -> None:
    model = explorer.open_explorer(runs / "vae")
    shown = model.nearest(2, 5, 3)
    data = model.data
    assert data is not None
    samples = shown.x.unflatten(0, (2, 4))
    for sample, first in zip(samples[:, 0], samples[:, 1], strict=True):
        distances = (data.x.double() - sample.double()).square().flatten(1).sum(1)
        assert torch.equal(first, data.x[int(distances.argmin())])
    assert client.get("/explore/vae/nearest.png?n=2").status_code == 200


def test_translations_are_the_models(client: TestClient, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png(8))
    expected = ganvas.load(runs / "cycle").translate(str(tmp_path / "p.png"), "A")
    shown = client.post("/explore/cycle/translate?to=A", content=png(8)).content
    np.testing.assert_array_equal(pixels(shown), pixels(explorer_png(expected)))
    assert client.post("/explore/vae/translate", content=png()).status_code == 422


def test_other_pictures(client: TestClient, runs: Path) -> None:
    for name in ("vae/samples.png?n=4", "vae/reconstructions.png", "points/marginals.png", "points/samples.png"):
        assert client.get(f"/explore/{name}").headers["content-type"] == "image/png"
    assert [*client.get("/explore/vae/strangest").json()["pictures"]] == ["strangest", "most ordinary"]
    assert client.get("/explore/vae/weights").content == (runs / "vae" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["vae", "cgan", "cycle", "points"])
def test_each_kind_has_a_page(client: TestClient, name: str) -> None:
    page = client.get(f"/explore/{name}").text
    assert ("Translate a picture" in page) == (name == "cycle")
    assert ("Your picture</h2>" in page) == (name == "vae")
    assert ("A map to walk on" in page) == (name != "cycle")


@pytest.mark.parametrize(
    "address",
    [
        "vae/picture.png?z=99:1", "vae/picture.png?z=a", "vae/picture.png?z=1:1e9", "vae/picture.png?z=1:nan",
        "vae/samples.png?n=1000", "vae/map.png?across=0&up=1&side=500", "vae/walk.png?first=..&last=0", "nothing",
        "..%2fvae", "vae/marginals.png", "cycle/picture.png",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(client: TestClient, address: str) -> None:
    answer = client.get(f"/explore/{address}")
    assert 400 <= answer.status_code < 500


def test_few_models_stay_loaded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "MAX_MODELS", 2)
    for name in ("vae", "cgan", "points"):
        assert client.get(f"/explore/{name}").status_code == 200
    assert [key[0].name for key in explorer.explorers] == ["cgan", "points"]


def test_a_link_to_weights_leads_nowhere(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (tmp_path / "secret").write_text("secret")
    (folder / "weights.safetensors").symlink_to(tmp_path / "secret")
    client = TestClient(make_app(Settings(tmp_path)), base_url="http://127.0.0.1")
    for address in ("/explore/a", "/explore/a/weights"):
        assert "is a link" in client.get(address).json()["error"]


def is_taken() -> bool:
    """Whether another thread draws."""
    if generators.acquire(blocking=False):
        generators.release()
        return False
    return True


def test_what_draws_from_the_generators_of_all_threads_is_alone(
    client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run of the lecture, whose steps draw from them, were another than its command's, and kept as it is."""
    seen = list[str]()

    def look(what: str) -> None:
        with ThreadPoolExecutor(1) as other:
            seen.extend([what] * other.submit(is_taken).result())

    def load(*arguments: Any) -> Any:
        look("load")
        return load_trained(*arguments)

    monkeypatch.setattr(explorer, "load_trained", load)
    monkeypatch.setattr(explorer, "measure_usage", lambda *arguments: (look("use"), measure_usage(*arguments))[1])
    assert client.get("/explore/vae").status_code == 200
    chapter = replace(small_chapter("algorithm"), record=lambda _: {"command": f"ganvas train {look('record')}"})
    record(chapter, Parameters())
    assert seen == ["load", "use", "record"]
