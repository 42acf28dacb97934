"""The InceptionV3 of published FIDs, as far as it can be tested without its weights."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from ganvas.metrics.features import inception, make_feature_space
from ganvas.metrics.features.inception import Mixed, average_pool, inception_v3, resize_tf1


def published() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names of the published file and their shapes, written down from the conversion of TensorFlow's graph.

    torch-fidelity's convert_inception_weights.py has the names; shapes are those of arXiv:1512.00567, table 1.
    """
    table: dict[str, tuple[int, int, int, int]] = {
        "Conv2d_1a_3x3": (3, 32, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (32, 64, 3, 3),
        "Conv2d_3b_1x1": (64, 80, 1, 1), "Conv2d_4a_3x3": (80, 192, 3, 3),
    }  # fmt: skip
    for block, a, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        table |= {f"Mixed_{block}.{name}": shape for name, shape in {
            "branch1x1": (a, 64, 1, 1), "branch5x5_1": (a, 48, 1, 1), "branch5x5_2": (48, 64, 5, 5),
            "branch3x3dbl_1": (a, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
            "branch_pool": (a, pooled, 1, 1),
        }.items()}  # fmt: skip
    table |= {
        "Mixed_6a.branch3x3": (288, 384, 3, 3), "Mixed_6a.branch3x3dbl_1": (288, 64, 1, 1),
        "Mixed_6a.branch3x3dbl_2": (64, 96, 3, 3), "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
    }  # fmt: skip
    for block, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        table |= {f"Mixed_{block}.{name}": shape for name, shape in {
            "branch1x1": (768, 192, 1, 1), "branch7x7_1": (768, c, 1, 1), "branch7x7_2": (c, c, 1, 7),
            "branch7x7_3": (c, 192, 7, 1), "branch7x7dbl_1": (768, c, 1, 1), "branch7x7dbl_2": (c, c, 7, 1),
            "branch7x7dbl_3": (c, c, 1, 7), "branch7x7dbl_4": (c, c, 7, 1), "branch7x7dbl_5": (c, 192, 1, 7),
            "branch_pool": (768, 192, 1, 1),
        }.items()}  # fmt: skip
    table |= {
        "Mixed_7a.branch3x3_1": (768, 192, 1, 1), "Mixed_7a.branch3x3_2": (192, 320, 3, 3),
        "Mixed_7a.branch7x7x3_1": (768, 192, 1, 1), "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1), "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    }  # fmt: skip
    for block, a in (("7b", 1280), ("7c", 2048)):
        table |= {f"Mixed_{block}.{name}": shape for name, shape in {
            "branch1x1": (a, 320, 1, 1), "branch3x3_1": (a, 384, 1, 1), "branch3x3_2a": (384, 384, 1, 3),
            "branch3x3_2b": (384, 384, 3, 1), "branch3x3dbl_1": (a, 448, 1, 1), "branch3x3dbl_2": (448, 384, 3, 3),
            "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1), "branch_pool": (a, 192, 1, 1),
        }.items()}  # fmt: skip
    for name, (a, b, h, w) in table.items():
        yield f"{name}.conv.weight", (b, a, h, w)
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.bn.{part}", (b,)
    yield from (("fc.weight", (1008, 2048)), ("fc.bias", (1008,)))


def test_parameters_are_those_of_the_published_file() -> None:
    net = inception_v3()
    mine = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert mine == dict(published())
    assert len(mine) == 94 * 5 + 2
    assert sum(p.numel() for p in net.parameters()) == 23_850_960
    numbers = sum(int(np.prod(shape)) for shape in mine.values())
    assert 0 < 95_628_359 - 4 * numbers < 200 * len(mine), "the published file's bytes: names and little else"


def test_outputs_have_the_papers_sizes() -> None:
    sizes: dict[str, tuple[int, ...]] = {}
    net = inception_v3().eval().requires_grad_(False)
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda _, __, y, name=name: sizes.update({name: tuple(y.shape[1:])}))
    assert net(torch.zeros(1, 3, 299, 299)).shape == (1, 1008)
    assert sizes["Conv2d_2b_3x3"] == (64, 147, 147)
    assert sizes["maxpool2"] == (192, 35, 35)
    assert sizes["Mixed_5b"] == (256, 35, 35)
    assert sizes["Mixed_6a"] == sizes["Mixed_6e"] == (768, 17, 17)
    assert sizes["Mixed_7a"] == (1280, 8, 8)
    assert sizes["Mixed_7c"] == (2048, 8, 8)
    assert sizes["flatten"] == (2048,)


def test_pooling_is_the_reference_graphs() -> None:
    net, x = inception_v3(), torch.rand(1, 1, 6, 6)
    assert average_pool()(torch.ones(1, 1, 3, 3)).unique().tolist() == [1], "padding does not count"
    kinds = {name: m.pool for name, m in net.named_children() if isinstance(m, Mixed)}
    for name, pool in kinds.items():
        expected = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        if name == "Mixed_7c":
            expected = max_pool2d(x, 3, 1, 1)
        if name in ("Mixed_6a", "Mixed_7a"):
            expected = max_pool2d(x, 3, 2)
        torch.testing.assert_close(pool(x), expected)
    assert len(kinds) == 11


def test_a_block_is_its_chains_side_by_side() -> None:
    """Written out for one with each kind of chain."""
    block = inception.inception_e(5, average_pool()).eval().requires_grad_(False)
    x = torch.rand(2, 5, 8, 8)

    def f(name: str, y: Tensor) -> Tensor:
        found: Tensor = block.get_submodule(name)(y)
        return found

    y, z = f("branch3x3_1", x), f("branch3x3dbl_2", f("branch3x3dbl_1", x))
    expected = [
        f("branch1x1", x), f("branch3x3_2a", y), f("branch3x3_2b", y), f("branch3x3dbl_3a", z), f("branch3x3dbl_3b", z),
        f("branch_pool", average_pool()(x)),
    ]  # fmt: skip
    torch.testing.assert_close(block(x), torch.cat(expected, 1))


def resized_by_loops(x: np.ndarray, side: int) -> np.ndarray:
    """TensorFlow 1.15, core/kernels/resize_bilinear_op.cc with half_pixel_centers and align_corners false."""

    def line(n: int) -> list[tuple[int, int, np.float32]]:
        scale, found = np.float32(n / side), []
        for i in range(side):
            at = np.float32(i) * scale
            low = int(np.floor(at))
            found.append((low, min(low + 1, n - 1), at - np.float32(low)))
        return found

    result = np.zeros((*x.shape[:2], side, side), np.float32)
    for i, (top, bottom, down) in enumerate(line(x.shape[2])):
        for j, (left, right, along) in enumerate(line(x.shape[3])):
            above = x[..., top, left] + (x[..., top, right] - x[..., top, left]) * along
            below = x[..., bottom, left] + (x[..., bottom, right] - x[..., bottom, left]) * along
            result[..., i, j] = above + (below - above) * down
    return result


@pytest.mark.parametrize("size", [(7, 5), (23, 31), (64, 40)])
def test_images_are_resized_as_tensorflow_did_it(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size) * 255
    found = resize_tf1(x, 23)
    np.testing.assert_allclose(found.numpy(), resized_by_loops(x.numpy(), 23), rtol=1e-5, atol=1e-3)
    half_pixels = interpolate(x, (23, 23), mode="bilinear", align_corners=False)
    assert (found - half_pixels).abs().mean() > 1, "which is not what PyTorch does"


def test_images_of_the_networks_own_size_stay_as_they_are() -> None:
    x = torch.rand(1, 3, 299, 299)
    torch.testing.assert_close(resize_tf1(x), x)


def test_features_of_a_file_of_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights: what is done to images, in what order, and that scores leave the bias out."""
    path = tmp_path / "weights.pth"
    torch.save(
        {k: torch.rand(s) * 0.05 + k.endswith("var") for k, s in published()},
        path,
        _use_new_zipfile_serialization=False,
    )
    known = inception.INCEPTION.__class__(
        "inception-v3-fid", sha256(path.read_bytes()).hexdigest(), (path.name,), env_variable="GANVAS_INCEPTION"
    )
    monkeypatch.setattr(inception, "INCEPTION", known)
    monkeypatch.setenv("GANVAS_INCEPTION", str(path))
    space = make_feature_space("inception-v3-fid", (1, 28, 28))
    assert space.tag == f"inception-v3-fid@{known.digest[:8]}"
    x = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    found = space(x)
    weights = known.load()
    net = inception_v3()
    net.load_state_dict(weights)
    seen = (resize_tf1(x.float().expand(-1, 3, -1, -1)) - 128) / 128
    with torch.no_grad():
        expected = nn.Sequential(*list(net.eval())[:-1])(seen)
    assert found.shape == (2, space.n_features) == (2, 2048)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(space.logits(found), found @ weights["fc.weight"].T, rtol=1e-4, atol=1e-2)
