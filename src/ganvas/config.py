"""How to train: the configuration of a run that is not particular to a model."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from .fields import STRICT, Fraction, Positive, ValidatedMeta, parse_duration, split_commas


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(metaclass=ValidatedMeta):
    """How to train: everything that is not particular to a model."""

    steps: Annotated[int, Field(gt=0)] = 5000
    """training steps"""
    epochs: Positive | None = None
    """passes over the data, in place of steps"""
    budget: Annotated[float, BeforeValidator(parse_duration), Field(gt=0)] | None = None
    """time for the whole run, e.g. 30s, 10m or 1.5h, in place of steps: so many are done as fit in"""
    batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] = 64
    """examples per step; auto is the default, or less where that, without `compile`, does not fit in memory"""
    seed: Annotated[int, Field(ge=0)] = 0
    """the run's only source of randomness"""
    ema_decay: Fraction = 0.999
    """decay of the averaged weights, which are the ones kept"""
    checkpoint_every: Annotated[int, Field(gt=0)] = 500
    """steps between checkpoints and previews; the log has ten lines between them"""
    lr_milestones: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(split_commas)] = ()
    """shares of the run, e.g. 0.5,0.8: milestones after which the learning rate falls"""
    lr_gamma: Positive = 0.1
    """factor of the learning rate at each milestone"""
    lr_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """last share of the run, e.g. 0.5, in which the learning rate falls linearly to 0"""
    clip_grad_norm: Positive | None = None
    """clip the gradient norm of each network to this"""
    on_divergence: Literal["rollback", "skip", "stop"] = "rollback"
    """on a NaN or an infinity: skip the update, and after ten skips in a row roll back to a checkpoint with half the
    learning rate, three times at most; skip, then stop; or stop at once"""
    balanced: bool = False
    """draw examples of every class equally often"""
    keep: Literal["best", "last"] = "best"
    """which weights of a GAN to keep: those whose samples are nearest to the data, or the last"""
    patience: Annotated[int, Field(gt=0)] | None = None
    """stop after this many measurements of samples without improvement"""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """precision of matrix products and convolutions; losses, posteriors and weights are always float32; auto measures
    which is faster here"""
    compile: Literal["auto", "on", "off"] = "off"
    """let torch.compile fuse the layers of the networks; auto does where a trial says that it saves time in this run"""
    tf32: bool = False
    """on an NVIDIA GPU, multiply float32 numbers in TF32, with 10 bits after the point: faster, and less precise"""
    graph: Literal["auto", "on", "off"] = "auto"
    """run training steps as CUDA graphs; auto does on a GPU, unless networks of your own take part"""
    fsdp: bool = False
    """shard weights, gradients, optimizer states and averages over the ranks, for networks larger than one device"""
    report: Literal["on", "off"] = "on"
    """write report.html, a page on the run, into its folder when it ends"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to compute; auto is CUDA, then MPS, then the CPU"""

    @property
    def examples_per_step(self) -> int:
        """`batch_size`, for which a run has a number, also where auto was asked."""
        assert isinstance(self.batch_size, int)
        return self.batch_size

    def is_out_of_patience(self, evaluations: int) -> bool:
        """Whether a run ends whose samples got no better in so many evaluations."""
        return self.patience is not None and evaluations >= self.patience
