"""What GANs have in common: two players, the options of both, and the helpers of which their steps are written.

Each GAN's own file has its `step`, which reads like the algorithm of its paper:

    repeat k times:  D descends its loss on m fresh examples and the generator's answer to m fresh noise samples
    once:            G descends its loss on m fresh noise samples

What may be added to D's loss (`discriminator_move`):

    gp      gp E (|grad D(u)| - 1)^2                               gradient penalty, arXiv:1704.00028
    r1, r2  r1 E |grad D(x)|^2 / 2, r2 E |grad D(G(z))|^2 / 2      zero-centred penalties, arXiv:1801.04406

With `augment_target` D's images are changed with a probability p, which begins at 0 and follows how much D overfits:

    r = E sign(D(x) - border),       p <- p + sign(r - augment_target) (images of a batch) / augment_span, in [0, 1]

Karras et al., arXiv:2006.06676, section 3; there every four batches.  The border is that of `confidence`: where
logits have no zero it is half-way, since in that paper those of real and fake drift apart symmetrically about zero.
"""

from collections.abc import Hashable, Mapping, Set
from contextlib import nullcontext
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ..data import Dataset
from ..data.tables.encoding import COARSE
from ..data.tables.table import Table
from ..errors import UserError
from ..fields import Count, Fraction, Positive, Size, Weight, split_commas
from ..model import Batch, Move, Shape, device_of, minimize
from ..nn import Conditional, Depth, decoder, encoder, resolve_architecture
from ..nn.augment import Augmentation, augment
from ..nn.compilation import uncompiled
from ..nn.discriminator import add_spectral_norm
from ..nn.mlp import Activation, DecoderNorm, Norm
from ..objectives import adversarial
from ..objectives.adversarial import JENSEN_SHANNON_LOSSES, Loss, confidence, generator_loss
from ..objectives.penalties import gradient_penalty, squared_gradients
from ..randomness import draw_rows
from ..ranks import gather_batch, world_size
from ._gan_defaults import REPLACEMENTS
from ._gan_diagnosis import gan_rules
from ._gan_networks import finalize_network, uses_batch_norm
from ._latent import Codes, Examples, LatentModel, Network
from ._own import OwnNetwork, copy_own_network
from ._statistics import sample_statistics

Packed = Float[Tensor, "b_by_pack *packed"]
Labels = tuple[Tensor, ...]
DIFFERENTIATED_EXAMPLES = 32
"""examples of a batch by which the log's gradients are taken"""
MIN_TAIL = 1e-12
"""least share of a uniform prior on either side of a code, whose Gaussian quantile is then finite"""


class Objective(NamedTuple):
    """What the two players descend, and what holds D's gradient."""

    loss: Loss
    gp: float
    r1: float
    r2: float
    penalty_interval: int
    weight_clip: float | None
    spectral_norm: bool

    @property
    def penalties(self) -> dict[str, float]:
        """The weights of the penalties on D's gradient, by name."""
        return {name: weight for name in ("gp", "r1", "r2") if (weight := getattr(self, name))}


class Adversarial(LatentModel):
    """A generator G learns to fool a discriminator (or critic) D, which learns not to be fooled.

    A `generator` of the user's own maps b x latent to b x *shape, pixels in [-1, 1]; a `discriminator` returns a logit
    an example, b x 1.  Both are taken as they are.  With pack=m, D has m examples as further channels or numbers; so
    have both networks of cgan the one-hot label.
    """

    own_network_names: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    generator: OwnNetwork = None
    discriminator: OwnNetwork = None

    rules = gan_rules
    training_only: ClassVar[tuple[str, ...]] = ("D",)
    keep_best_checkpoint: ClassVar[bool] = True
    ignored_options: ClassVar[tuple[str, ...]] = ()
    logged_statistics: ClassVar[tuple[str, ...]] = ("accuracy_real", "accuracy_fake", "logit_gap", "augment_p")
    replacements: ClassVar[Mapping[str, Set[str]]] = REPLACEMENTS
    fixed_options: ClassVar[dict[str, object]] = {
        "n_critic": 1, "initial_critic_steps": 1, "penalty_interval": 1, "gp": 0.0, "r1": 0.0, "r2": 0.0,
        "weight_clip": None, "spectral_norm": False, "top_k": 1.0,
    }  # fmt: skip

    latent: Size = 64
    """dimensions of the noise z"""
    noise_distribution: Literal["normal", "uniform"] = "normal"
    """distribution of z: N(0, I), or uniform on [-1, 1]"""
    net: Literal["auto", "conv", "resize", "residual", "mlp"] = "auto"
    """kind of networks; auto is mlp for vectors, else conv; resize is conv with a G that draws no checkerboard,
    residual has residual blocks between interpolations"""
    depth: Depth = 2
    fine_convolutions: Annotated[int, Field(ge=0, le=16)] = 0
    """further convolutions in D, of maps half as large as the image, where fine detail shows"""
    norm: Literal["auto"] | DecoderNorm = "auto"
    """normalisation in G; auto is batch with convolutions, none in an MLP; modulated is batch norm with gains that are
    functions of z, for net=resize (arXiv:1810.01365)"""
    norm_d: Literal["auto"] | Norm = "auto"
    """normalisation in D; auto is the same, but layer with a penalty on D's gradient, none with spectral norm"""
    augment: Annotated[tuple[Augmentation, ...], BeforeValidator(split_commas)] = ()
    """random changes of all that D sees, real and fake, e.g. color,translation,cutout,flip"""
    augment_target: Fraction | None = None
    """augment with a probability that keeps E sign D(x) at this, e.g. 0.6; always unless given (arXiv:2006.06676)"""
    augment_span: Count = 50_000
    """real images in which that probability can rise from 0 to 1"""
    keep_discriminator: bool = False
    """keep D among the weights too, for `ganvas score --score discriminator` where the checkpoint is gone"""
    pack: Annotated[int, Field(gt=0, le=64)] = 1
    """examples that D judges together"""
    lr: Positive = 2e-4
    lr_d: Positive | None = None
    """learning rate of D; that of G unless given"""
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)

    @property
    def objective(self) -> Objective:
        """What the two players descend: what is not an option of this GAN is what its paper fixes it to."""
        values: dict[str, Any] = {name: getattr(self, name, self.fixed_options.get(name)) for name in Objective._fields}
        return Objective(**values)

    @property
    def has_normal_prior(self) -> bool:
        return self.noise_distribution == "normal"

    def penalties(self, global_step: int) -> dict[str, float]:
        """The weights of D's penalties in the step after so many others."""
        objective = self.objective
        weights = {} if global_step % objective.penalty_interval else objective.penalties
        return {name: objective.penalty_interval * weight for name, weight in weights.items()}

    def learning_rate(self, name: str) -> float:
        return self.lr_d if self.lr_d is not None and name == "D" else self.lr

    def norms(self, shape: Shape) -> tuple[DecoderNorm, Norm]:
        """The normalisation in G and in D: what "auto" means, or whether a network of the user's own has batch norm."""
        conv = resolve_architecture(self.net, shape) != "mlp"
        norm: Norm = "batch" if conv else "none"
        norm_d: Norm = "layer" if conv and self.objective.penalties else norm
        norm_d = "none" if self.objective.spectral_norm else norm_d  # any other would undo it
        norms = norm if self.norm == "auto" else self.norm, norm_d if self.norm_d == "auto" else self.norm_d
        own: dict[str, Norm] = {k: "batch" if uses_batch_norm(v) else "none" for k, v in self.own_networks.items()}
        return own.get("generator", norms[0]), own.get("discriminator", norms[1])

    def validate_data(self, data: Dataset) -> None:
        resolve_architecture(self.net, data.shape)
        for name, weight in self.objective.penalties.items():
            if self.norms(data.shape)[1] == "batch":
                raise UserError(
                    f"{name}={weight:g} is about D's gradient at each example, but batch norm mixes the examples: "
                    "use norm_d=layer or norm_d=none"
                )
        if (interval := self.objective.penalty_interval) > 1 and not self.objective.penalties:
            raise UserError(f"penalty_interval={interval} is the interval of penalties: give a weight, e.g. r1=1")
        if (kinds := ",".join(self.augment)) and not data.has_images:
            raise UserError(f"augment={kinds} changes images, but {data.name} holds {data.kind}s: leave it out")
        if self.augment_target is not None and not kinds:
            raise UserError(f"augment_target={self.augment_target:g} needs kinds of change: give augment as well")
        if self.pack > 1 and self.is_conditional:
            raise UserError(f"pack={self.pack} shows D examples of different labels at once: use pack=1")

    def preprocess(self, data: Dataset, *, deterministic: bool = False) -> Dataset:
        """The data; numbers of a table in ten intervals, since D judges rows whole."""
        return data.with_resolution(COARSE) if isinstance(data, Table) else data

    def unused_options(self, shape: Shape) -> dict[str, str]:
        is_adaptive = self.augment_target is not None
        unused = {} if is_adaptive else {"augment_span": "without `augment_target`"}
        if resolve_architecture(self.net, shape) not in ("conv", "resize"):
            unused["fine_convolutions"] = "without net=conv or net=resize"
        return super().unused_options(shape) | unused

    def validate_batch_size(self, batch: int, shape: Shape) -> None:
        if batch % self.pack:
            raise UserError(f"batch_size={batch} cannot be packed by pack={self.pack}: give a multiple of it")
        norm, norm_d = self.norms(shape)
        if (norm in ("batch", "modulated") and batch < 2) or (norm_d == "batch" and batch // self.pack < 2):
            raise UserError(f"batch_size={batch} is too small for batch norm: give more, or norm=none and norm_d=none")
        if self.objective.spectral_norm and norm_d != "none":
            raise UserError(
                f"spectral_norm bounds D's slope by the size of its weights, which norm_d={norm_d} undoes, since its "
                "outputs have the same size whatever the weights: use norm_d=none, or leave out one of them"
            )

    def build_networks(self, shape: Shape, shape_d: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        """G for examples of `shape`, and D for those of the shape `shape_d`, in which pack=2 puts two."""
        norm, norm_d = self.norms(shape)
        G = decoder(self.net, self.latent, shape, self.width, self.depth, norm=norm)
        D = self.discriminator_layers(shape_d, norm_d, "leaky-relu")
        return finalize_network(G, shape), finalize_network(D)

    def discriminator_layers(self, shape: Shape, norm: Norm, activation: Activation) -> nn.Sequential:
        """The layers of D for examples of a shape, (b, *shape) -> (b, 1)."""
        options: Any = {"activation": activation, "fine_convolutions": self.fine_convolutions}
        return encoder(self.net, shape, 1, self.width, self.depth, norm=norm, **options)

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        shape_d, n = (self.pack * shape[0], *shape[1:]), classes if self.is_conditional else 0
        G, D = self.build_networks(shape, shape_d, classes)
        if "generator" in self.own_networks:
            own_g = copy_own_network(self, "generator", (self.latent + n,), shape, "an example")
            G = Conditional(own_g, (self.latent,), n) if n else own_g
        if "discriminator" in self.own_networks:
            own_d = copy_own_network(self, "discriminator", (shape_d[0] + n, *shape_d[1:]), (1,), "a logit")
            D = Conditional(own_d, shape_d, n) if n else own_d
        D = add_spectral_norm(D) if self.objective.spectral_norm else D
        if self.augment_target is not None:
            D.register_buffer("augment_p", torch.zeros(()))
        return {"G": G, "D": D}

    def discriminator_input(self, x: Examples, D: nn.Module) -> Packed:
        """Examples as D sees them: augmented, and `pack` in one as further channels or numbers (arXiv:1712.04086)."""
        x = augment(x, self.augment, getattr(D, "augment_p", None))
        return x if self.pack == 1 else x.reshape(len(x) // self.pack, self.pack * x.shape[1], *x.shape[2:])

    def fake(self, G: nn.Module, D: nn.Module, n: int, *y: Tensor) -> Packed:
        """G's answers to n fresh samples of z, as D sees them."""
        return self.discriminator_input(G(self.noise(n, device=device_of(G)), *y), D)

    @torch.no_grad()
    def real_and_fake(self, G: nn.Module, D: nn.Module, batch: Batch, *y: Tensor) -> tuple[Packed, Packed]:
        """A batch, and G's answers to as many fresh samples of z, as D sees them in its own move."""
        return self.discriminator_input(batch.x, D), self.fake(G, D, len(batch.x), *y)

    def discriminator_move(
        self, D: nn.Module, x: Tensor, fake: Tensor, y: Labels = (), /, *, gp: float = 0, r1: float = 0, r2: float = 0
    ) -> Move:
        """D descends its loss on real and fake examples, with penalties on its gradient where their weights are not 0.

        A move with penalties is in float32: the eight bits of bfloat16 would leave them wrong by percents.
        """
        loss = self.objective.loss
        with torch.autocast(x.device.type, enabled=False) if gp or r1 or r2 else nullcontext():
            both = torch.cat([x, fake]).requires_grad_(bool(r1 or r2))
            real_logits, fake_logits = logits(uncompiled(D) if r1 or r2 else D, both, y)
            terms = adversarial.discriminator_terms(loss, real_logits, fake_logits)
            if r1 or r2:
                norms = squared_gradients(torch.cat([real_logits, fake_logits]), both).chunk(2)
                terms |= {k: w / 2 * u.mean() for k, w, u in zip(("r1", "r2"), (r1, r2), norms, strict=True) if w}
            if gp:
                terms["gp"] = gp * gradient_penalty(uncompiled(D), x, fake, *y)
        logged = confidence(real_logits.detach(), fake_logits.detach(), loss)
        if self.augment_target is not None:
            real, fake = gather_batch(real_logits.detach()), gather_batch(fake_logits.detach())  # lest ranks differ
            r = 2 * confidence(real, fake, loss)["accuracy_real"] - 1
            p = uncompiled(D).get_buffer("augment_p")
            change = len(real) * self.pack / self.augment_span * (r - self.augment_target).sign()
            logged["augment_p"] = p.copy_((p + change).clamp(0, 1)).clone()
        return minimize(D, **terms)._replace(logged=logged, second_order=bool(gp or r1 or r2))

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **_: Any) -> Codes:
        return draw_rows(n, lambda m: (self.noise(m, generator=generator),))[0]

    def noise(self, n: int, **options: Any) -> Codes:
        """n samples of z; the options are those of torch.rand and torch.randn."""
        if self.noise_distribution == "normal":
            return torch.randn(n, self.latent, **options)
        return torch.rand(n, self.latent, **options).mul_(2).sub_(1)

    def to_normal(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        share = ((z.double() + 1) / 2).clamp(MIN_TAIL, 1 - MIN_TAIL)
        return z if self.noise_distribution == "normal" else torch.special.ndtri(share).to(z.dtype)

    def from_normal(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return z if self.noise_distribution == "normal" else (2 * torch.special.ndtr(z.double()) - 1).to(z.dtype)

    def generate(self, z: Codes, *labels: Any, G: Network) -> Examples:
        """G(z), or G(z, y)."""
        return G(z, *labels)

    def preview(self, batch: Batch, G: nn.Module) -> Float[Tensor, "rows n *shape"]:
        """Four rows of samples."""
        return torch.stack(G(self.noise(4 * len(batch.x), device=batch.x.device)).chunk(4))

    def estimates(self, terms: dict[str, float]) -> dict[str, float]:
        """The distance that D's loss estimates: Wasserstein's, or the Jensen-Shannon divergence."""
        return adversarial.divergence_estimates(self.objective.loss, terms)

    def monitor(self, batch: Batch, **networks: Any) -> dict[str, Tensor]:
        """`diversity`, and of images `detail` and `detail_real`, of samples beside real examples: see `_statistics`."""
        z = self.noise(len(batch.x), device=batch.x.device)
        return sample_statistics(self.generate(z, *self.condition_of(batch), **networks), batch.x)

    def discriminator_statistics(self, batch: Batch, G: nn.Module, D: nn.Module) -> dict[str, float]:
        """`input_gradient`: mean norm of D's gradient between real and fake examples.

        `minimax_gradient` and `non_saturating_gradient`, where D returns the logit of a probability: norm of the
        gradient of G under either loss (arXiv:1406.2661, section 3: the first vanishes where D is sure).  All are of
        the first `DIFFERENTIATED_EXAMPLES` of the batch: more would cost convolutional networks several training steps.
        """
        batch = batch.first(max(DIFFERENTIATED_EXAMPLES, self.pack))
        y, whole = self.condition_of(batch), len(batch.x) // self.pack * self.pack
        x = self.discriminator_input(batch.x[:whole], D)
        fake = self.discriminator_input(G(self.noise(len(batch.x), device=x.device), *y)[:whole], D)
        u = torch.lerp(x, fake.detach(), torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device)).requires_grad_()
        statistics = {"input_gradient": squared_gradients(D(u, *y), u).sqrt().mean()}
        if self.objective.loss in JENSEN_SHANNON_LOSSES:
            fake_logits, weights = D(fake, *y), [p for p in G.parameters() if p.requires_grad]
            for loss in JENSEN_SHANNON_LOSSES:
                gradient = torch.autograd.grad(generator_loss(loss, fake_logits), weights, retain_graph=True)
                statistics[f"{loss.replace('-', '_')}_gradient"] = nn.utils.get_total_norm(gradient)
        return {name: value.item() for name, value in statistics.items()}


class ConfigurableGAN(Adversarial):
    """A GAN whose loss, penalties and tricks are the user's choice: gan, dcgan and cgan."""

    n_critic: Count = 1
    """updates of D per update of G: the paper's k"""
    loss: Loss = "non-saturating"
    """loss of the two players; relativistic compares each real example with a fake one"""
    gp: Weight = 0.0
    """weight of the gradient penalty, which pulls the norm of D's gradient to 1"""
    r1: Weight = 0.0
    """weight of half the squared gradient of D on real examples"""
    r2: Weight = 0.0
    """weight of half the squared gradient of D on fake examples"""
    penalty_interval: Count = 1
    """compute the penalties every so many steps, with as many times the weight (arXiv:1912.04958)"""
    weight_clip: Positive | None = None
    """clip every weight of D to [-c, c] after each of its updates"""
    spectral_norm: bool = False
    """divide every weight of D by its largest singular value; D then has no other normalisation"""
    top_k: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the fakes that G learns from, those that fool D best; it falls to this by 1% an epoch"""

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        bounds = [name for name in ("gp", "weight_clip", "spectral_norm") if getattr(self, name)]
        if self.loss == "wasserstein" and not bounds:
            ways = "gp=10, weight_clip=0.01 or spectral_norm"
            raise UserError(f"loss=wasserstein needs a critic of bounded slope: give {ways}")
        if self.weight_clip is not None and len(bounds) > 1:
            raise UserError(f"{' and '.join(bounds)} are different ways to bound the slope of D: choose one")

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> Hashable | None:
        n_best = self.n_best(batch_size // self.pack, global_step * batch_size / max(1, dataset_size))
        return tuple(self.penalties(global_step).items()), n_best

    def n_best(self, n: int, epochs: float) -> int:
        """Of n fakes those that G learns from, after so many epochs."""
        return max(1, round(n * max(self.top_k, float(0.99**epochs))))

    def select_top_k(self, fake: Tensor, real: Tensor | None, epochs: float) -> tuple[Tensor, Tensor | None]:
        """The logits of the fakes that G learns from, and those of the real examples they are paired with.

        Top-k training (Sinha et al., arXiv:2002.06224, algorithm 1): G forgets its worst fakes.
        """
        n = len(fake) * world_size()
        n_best = self.n_best(n, epochs)
        if n_best == n:
            return fake, real
        fake, real = gather_batch(fake), None if real is None else gather_batch(real)
        index = fake.flatten().topk(n_best).indices
        return fake[index], None if real is None else real[index]

    def generator_move(
        self, G: nn.Module, D: nn.Module, x: Tensor, fake: Tensor, batch: Batch, global_step: int, *y: Tensor
    ) -> Move:
        """G descends its loss on fakes, which the relativistic loss compares with the examples x."""
        with torch.no_grad():
            real = D(x, *y) if self.loss == "relativistic" else None
        epochs = global_step * len(batch.x) * world_size() / max(1, batch.dataset_size)
        return minimize(G, fool=generator_loss(self.loss, *self.select_top_k(D(fake, *y), real, epochs)))


@torch.no_grad()
def clip_weights(net: nn.Module, bound: float | None) -> None:
    """Every parameter w becomes min(max(w, -bound), bound): algorithm 1, line 7 of arXiv:1701.07875."""
    if bound is not None:
        parameters: list[Tensor] = [p for p in net.parameters() if p.requires_grad]
        torch._foreach_clamp_min_(parameters, -bound)
        torch._foreach_clamp_max_(parameters, bound)


def logits(D: nn.Module, both: Tensor, y: Labels) -> tuple[Tensor, Tensor]:
    """D on real examples and on as many fakes, which `both` holds one after the other, with the labels of either.

    In one pass where D sees each example alone, in two where batch norm would mix them (as DCGAN's authors do).
    """
    if uses_batch_norm(D):
        x, fake = both.chunk(2)
        return D(x, *y), D(fake, *y)
    real_logits, fake_logits = D(both, *(torch.cat([labels, labels]) for labels in y)).chunk(2)
    return real_logits, fake_logits
