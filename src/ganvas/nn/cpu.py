"""What takes less time on a CPU: layers that compute what PyTorch's do, and memory that stays with the process."""

import ctypes
import sys
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, group_norm

from ..objectives.precision import at_least_float32

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""names of glibc's options, see mallopt(3)"""


@cache
def retain_freed_memory() -> None:
    """Have glibc, where it is the C library, keep the memory that tensors free for the next ones.

    Otherwise it returns large blocks to the system, which clears every page again before the next step can use it: a
    DCGAN's step of 64 images of 64 x 64 pixels met 20,000 such page faults, a seventh of its time.  The process then
    holds what its largest step took, and no more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and not mallopt(M_MMAP_THRESHOLD, 2**30):
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that older versions take
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Have glibc, where it is the C library, return to the system what tensors have freed."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm (arXiv:1607.08022) that leaves maps in the order of memory in which they come.

    PyTorch's own turns channels last into channels first.  On other devices this is group norm with a channel a group,
    the same function; on the CPU, that takes three to fourteen times as long as `InstanceNormFunction` on small maps.
    """

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size"]:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return group_norm(x, self.num_features, eps=self.eps)
        x = at_least_float32(x)
        if x.is_contiguous() or x.ndim != 4:
            return torch.instance_norm(x, None, None, None, None, True, 0.0, self.eps, False)
        y: Tensor = InstanceNormFunction.apply(x, self.eps)
        return y


class InstanceNormFunction(torch.autograd.Function):
    """y = (x - m) s, with m the mean and 1 / s^2 = variance + eps over height and width of a map, and its derivative.

    dL/dx = s g - s mean g - s^3 (x - m) mean(g (x - m)), where g = dL/dy.  It saves x, since activations overwrite y.
    """

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "b c h w"], eps: float) -> Float[Tensor, "b c h w"]:
        mean = x.mean((2, 3), keepdim=True)
        y = x - mean
        scale = (y.square().mean((2, 3), keepdim=True) + eps).rsqrt_()
        ctx.save_for_backward(x, mean, scale)
        return y.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], None]:
        x, mean, scale = ctx.saved_tensors
        deviation = x - mean
        slope = (g * deviation).mean((2, 3), keepdim=True).mul_(scale.pow(3))
        offset = torch.addcmul(g.mean((2, 3), keepdim=True).mul_(scale).neg_(), deviation, slope, value=-1)
        return torch.addcmul(offset, g, scale), None


class OutputConv2d(nn.Conv2d):
    """A convolution to the few maps of an image, with a square kernel, stride 1 and no padding.

    For 3 maps oneDNN computes 16.  Here each column of the kernel makes its own maps t, in a convolution with a
    kernel one pixel wide, and these are shifted and added: y[o, i, j] = sum over l of t[l, o, i, j + l].
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(x)
        columns = self.weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None]
        y: Tensor = ColumnSum.apply(conv2d(x, columns), self.kernel_size[1])
        return y if self.bias is None else y + self.bias[:, None, None]


class ColumnSum(torch.autograd.Function):
    """y[o, i, j] = sum over l of t[l, o, i, j + l]."""

    @staticmethod
    def forward(ctx: Any, t: Float[Tensor, "b maps h w"], k: int) -> Float[Tensor, "b o h w2"]:
        ctx.k, ctx.shape = k, t.shape
        return column_view(t, k).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Float[Tensor, "b o h w2"]) -> tuple[Float[Tensor, "b maps h w"], None]:
        b, maps, h, w = ctx.shape
        grad_input = g.new_zeros(b, h, w, maps).movedim(3, 1)
        column_view(grad_input, ctx.k).copy_(g[..., None].expand(*g.shape, ctx.k))
        return grad_input, None


def column_view(t: Float[Tensor, "b maps h w"], k: int) -> Float[Tensor, "b o h w2 k"]:
    """The view whose element (o, i, j, l) is t[l, o, i, j + l]."""
    (b, maps, h, w), (stride_b, stride_map, stride_h, stride_w) = t.shape, t.stride()
    o = maps // k
    return t.as_strided((b, o, h, w - k + 1, k), (stride_b, stride_map, stride_h, stride_w, o * stride_map + stride_w))
