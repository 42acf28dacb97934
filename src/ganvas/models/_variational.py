"""What variational autoencoders have in common: the distributions q(z|x), p(x|z) and p(z).

The encoder returns q(z|x), a `Posterior`; the decoder returns p(x|z), a `Likelihood`.  What is done with them, the
objective, is each model's own.  With `conditional`, both see the label y of the example: q(z|x, y), p(x|z, y) (Sohn et
al., Learning Structured Output Representation using Deep Conditional Generative Models, NeurIPS 2015).
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from functools import cached_property, reduce
from itertools import islice
from math import log, prod
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ..data import Dataset
from ..data.tables.table import Table
from ..distributions import likelihoods
from ..distributions.likelihoods import Likelihood, LikelihoodHead
from ..distributions.posteriors import Family, Posterior, PosteriorSamples, normal_log_prob, posterior_head
from ..distributions.tables import ColumnsHead
from ..errors import UserError
from ..fields import Positive, Size, split_commas
from ..model import Batch, Batches, EncoderModel, GenerativeModel, Shape, kind_of
from ..nn import Conditional, decoder, encoder
from ..nn.augment import augment
from ..nn.mlp import Activation
from ..randomness import draw_rows, make_generator, reseed
from ..table_shape import TableShape
from ._latent import Codes, Examples, LatentModel, validate_labels
from ._latent_diagnosis import latent_rules
from ._own import EncoderDecoder, copy_own_network

ElboTerms = tuple[Float[Tensor, " b"], Float[Tensor, "b *m"]]
Encoder = Callable[..., Posterior]
Decoder = Callable[..., Likelihood]
LatentStatistics = tuple[Codes, Float[Tensor, "b m"], Codes]
LogProbs = Float[Tensor, "k b"]
DrawnCodes = Float[Tensor, "k b d"]
EncodedBatch = tuple[Tensor, Posterior, PosteriorSamples, tuple[Tensor, ...]]
CPU = torch.device("cpu")
MAX_FULL_DIMENSIONS = 1024
"""most dimensions of a full covariance"""
DENSITY_CHUNK_SIZE = 2**22
"""numbers that a mixture's density computes at once"""
MAX_PRIOR_DIMENSIONS, MIN_CODES_PER_DIMENSION = 256, 10
"""most dimensions of codes that a run fits a prior to at its end, and least examples for each"""


def max_prior_dimensions(n: int) -> int:
    """Most dimensions of codes to which a run on n examples fits a prior."""
    return min(MAX_PRIOR_DIMENSIONS, n // MIN_CODES_PER_DIMENSION)


class LikelihoodModel(EncoderDecoder):
    """A model whose decoder returns p(x|z), and the examples as it observes them."""

    rules = latent_rules
    pixel_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    replacements: ClassVar[Mapping[str, Set[str]]] = {"sigma": {"likelihood"}}

    activation: Activation = "relu"
    """activation of the hidden layers"""
    likelihood: likelihoods.LikelihoodName = "gaussian"
    """distribution p(x|z)"""
    sigma: Positive | Literal["learned", "optimal"] | None = None
    """standard deviation of a gaussian p(x|z), for pixels in [0, 1] or standardised vectors, 0.4 unless given; or
    learned; or optimal"""
    binarize: Literal["no", "static", "dynamic"] = "no"
    """binarise pixels by Bernoulli sampling: once (static), or at each use (dynamic)"""
    augment: Annotated[tuple[Literal["shift", "flip"], ...], BeforeValidator(split_commas)] = ()
    """random changes of the images of each step, so that few are not learnt by heart: shift, flip"""

    @property
    def uses_standardization(self) -> bool:
        return self.likelihood in likelihoods.UNBOUNDED_LIKELIHOODS

    def validate_data(self, data: Dataset) -> None:
        if not isinstance(data, Table):
            likelihoods.validate_data_range(self.likelihood, data, self.binarize != "no")
        if (kinds := ",".join(self.augment)) and not data.has_images:
            raise UserError(
                f"augment={kinds} changes images, but {data.name} holds {kind_of(data.shape)}s: leave it out"
            )

    def likelihood_head(self, shape: Shape, sigma: likelihoods.Sigma | None) -> LikelihoodHead | ColumnsHead:
        """What makes p(x|z) of the decoder's outputs: of a table each column's own distribution."""
        if isinstance(shape, TableShape):
            return ColumnsHead(shape)
        return LikelihoodHead(self.likelihood, len(shape) > 1, sigma)

    def draw(self, z: Codes, shape: TableShape, noise: Tensor, *labels: Tensor, **networks: Any) -> Examples:
        """Rows x ~ p(x|z) of a table."""
        rows: Tensor = networks["decoder"](z, *labels).draw(noise)
        return rows

    def unused_options(self, shape: Shape) -> dict[str, str]:
        if isinstance(shape, TableShape):  # each column has its own distribution
            names = ("likelihood", "sigma", "binarize", "geco")
            return super().unused_options(shape) | dict.fromkeys(names, "on tables")
        has_sigma = self.likelihood == "gaussian"
        return super().unused_options(shape) | ({} if has_sigma else {"sigma": "without likelihood=gaussian"})

    def preprocess(self, data: Dataset, *, deterministic: bool = False) -> Dataset:
        """The data; with binarize=static, or `deterministic` for dynamic, their pixels as bits, always the same."""
        if self.binarize == "no" or (self.binarize == "dynamic" and not deterministic):
            return data
        max_value, random = 255 if data.has_images else 1, make_generator(CPU, 0, "binarize")
        bits = torch.bernoulli(data.x.float() / max_value, generator=random) * max_value
        return replace(data, x=bits.to(data.x.dtype))

    def binarize_batch(self, x: Examples) -> Examples:
        """The examples of a step: with binarize=dynamic, bits drawn anew."""
        return torch.bernoulli(x) if self.binarize == "dynamic" else x

    def training_batch(self, batches: Batches) -> Batch:
        """The batch of a step, with its images as `augment` has them."""
        batch = next(batches)
        return batch._replace(x=augment(batch.x, self.augment)) if self.augment else batch

    def changed_copies(self, data: Dataset, copies: int, seed: int) -> Dataset:
        """The examples, and after them as often as makes so many `copies` the same as a step may have seen them."""
        if not self.augment:
            return data
        x = data.x.repeat(copies, 1, 1, 1)
        with torch.random.fork_rng(devices=[]):
            reseed(CPU, seed, "changes")
            for part in x.split(len(data))[1:]:
                part.copy_(augment(data.x.float(), self.augment))
        return replace(data, x=x, labels=None if data.labels is None else data.labels.repeat(copies))

    @abstractmethod
    def elbo_draws(self, batch: Batch, *args: Any, **nets: Any) -> Iterator[ElboTerms]:
        """For one sample z ~ q(z|x) after the other: -log p(x|z), b numbers, and KL(q(z|x) || p(z)), b x m, in nats."""

    def elbo_terms(self, batch: Batch, draws: int = 1, **nets: Any) -> ElboTerms:
        """-log p(x|z), the mean over samples z ~ q(z|x), and KL(q(z|x) || p(z)), each b numbers in nats.

        ELBO = -(sum of the two): equations 7 and 10 of arXiv:1312.6114.
        """
        each = [torch.stack([nll, kl.sum(1)]).double() for nll, kl in islice(self.elbo_draws(batch, **nets), draws)]
        nll, kl = reduce(torch.add, each) / draws
        return nll, kl

    @abstractmethod
    def log_weights(self, x: Examples, k: int, *labels: Any, **nets: Any) -> LogProbs:
        """log p(x|z) + log p(z) - log q(z|x) in nats, for k samples z ~ q(z|x) of each example as observed.

        Their mean is the ELBO; the logarithm of the mean of their exponentials is the bound of arXiv:1509.00519.
        """

    @abstractmethod
    def latent_statistics(self, batch: Batch, *args: Any, **nets: Any) -> LatentStatistics:
        """Posterior means, b x d, KL(q(z|x) || p(z)) in nats in m terms, b x m, and samples z ~ q(z|x), b x d.

        There is a term a dimension, m = d, but of a VampPrior one: its KL does not come apart.
        """

    def monitor(self, batch: Batch, **nets: Any) -> dict[str, Tensor]:
        """How the latent space is used: what the log keeps and what says that it has collapsed.

        `kl` is KL(q(z|x) || p(z)) in the terms of `latent_statistics`, in nats; `mean_variance` the variance over
        examples of the posterior's mean (a dimension is active above 0.01: Burda et al., arXiv:1509.00519);
        `aggregate_mean` and `aggregate_std` are those of z ~ q(z|x) over all x, which N(0, I) should resemble.
        """
        mean, kl, z = self.latent_statistics(batch, **nets)
        return {"kl": kl.mean(0), "mean_variance": mean.var(0), "aggregate_mean": z.mean(0), "aggregate_std": z.std(0)}

    def preview(self, batch: Batch, **nets: Any) -> Float[Tensor, "rows n *shape"]:
        """Rows: examples, their reconstructions from the posterior's mean, samples from the prior."""
        assert isinstance(self, EncoderModel)
        assert isinstance(self, GenerativeModel)
        x, labels = self.binarize_batch(batch.x), self.condition_of(batch)
        random = make_generator(CPU, 0, "preview")
        z = self.sample_prior(len(x), tuple(x.shape[1:]), random, **nets).to(x.device)
        codes = self.encode(x, *labels, **nets), z
        return torch.stack([x, *(self.generate(code, *labels, **nets) for code in codes)])


class Variational(LikelihoodModel, LatentModel):
    """A model with an encoder q(z|x), a decoder p(x|z) and a prior p(z).

    An `encoder` of the user's own returns b x n raw numbers, of which the posterior's head makes q(z|x): for d latent
    numbers n is 2 d with posterior=diagonal (means, then raw deviations), d + d (d + 1) / 2 with full, (2 + rank) d
    with low-rank, 3 d with iaf.  A `decoder` returns the raw mean, b x *shape, to which the likelihood's head gives its
    bounds (discretized-logistic: twice as many channels, the second half for the scales).  With `conditional` their
    inputs have the one-hot label as further numbers, or channels.
    """

    posterior: Family = "diagonal"
    """q(z|x): a Gaussian with diagonal, full or low-rank covariance, or an inverse autoregressive flow"""
    rank: Annotated[int, Field(gt=0, le=1024)] = 4
    """columns of U in a low-rank covariance"""
    flow_steps: Annotated[int, Field(gt=0, le=64)] = 2
    """steps of the inverse autoregressive flow"""
    flow_width: Size = 256
    """hidden units of each step of the flow"""
    prior: Literal["standard", "vamp"] = "standard"
    """p(z): N(0, I), or a mixture of the posteriors of learned pseudo-inputs"""
    pseudo_inputs: Size = 500
    """components of the vamp prior"""
    conditional: bool = False
    """give the labels to the encoder and the decoder"""

    @cached_property
    def is_conditional(self) -> bool:
        return self.conditional

    @property
    def has_normal_prior(self) -> bool:
        return self.prior == "standard"

    def fits_prior(self, data: Dataset) -> bool:
        """Whether a run on these data ends with a prior fitted to codes; that of a class is not that of all."""
        is_feasible = self.code_size(data.shape) <= max_prior_dimensions(len(data))
        return is_feasible and self.prior == "standard" and not self.conditional

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        if self.posterior == "full" and self.latent > MAX_FULL_DIMENSIONS:
            raise UserError(f"posterior=full in {self.latent} dimensions needs their square in numbers: use low-rank")
        if self.conditional:
            validate_labels(data, "conditional=true tells both networks the class", ", or leave out conditional")
        for option, has in {"posterior=iaf": self.posterior == "iaf", "conditional=true": self.conditional}.items():
            if self.prior == "vamp" and has:
                raise UserError(f"prior=vamp does not go with {option}: use prior=standard")
        if self.net == "spatial" and self.posterior == "full":
            raise UserError("posterior=full needs all pairs of latent numbers, too many for net=spatial: use low-rank")

    def unused_options(self, shape: Shape) -> dict[str, str]:
        unused = super().unused_options(shape)
        if self.posterior != "low-rank":
            unused["rank"] = "without posterior=low-rank"
        if self.posterior != "iaf":
            unused |= dict.fromkeys(("flow_steps", "flow_width"), "without posterior=iaf")
        return unused | ({} if self.prior == "vamp" else {"pseudo_inputs": "without prior=vamp"})

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        return self.build_networks(shape, classes, self.sigma)

    def build_networks(self, shape: Shape, classes: int, sigma: likelihoods.Sigma | None) -> dict[str, nn.Module]:
        """The networks, with this standard deviation of a gaussian p(x|z)."""
        code, n = self.code_shape(shape), classes if self.conditional else 0
        flat = (prod(shape),) if self.net == "mlp" else shape
        d, codes = prod(code), prod(code) + n * prod(code[1:])
        outputs, q_head = posterior_head(self.posterior, d, self.rank, self.flow_steps, self.flow_width)
        p_head = self.likelihood_head(shape, sigma)
        x_shape, mean_shape = (flat[0] + n, *flat[1:]), (shape[0] * p_head.n_outputs, *shape[1:])
        own, sizes, q = self.own_networks, (self.width, self.depth), f"what posterior={self.posterior} takes"
        f = (
            copy_own_network(self, "encoder", x_shape if n else shape, (outputs,), q) if "encoder" in own
            else encoder(self.net, x_shape, outputs, *sizes, activation=self.activation)
        ).append(q_head)  # fmt: skip
        g = (
            copy_own_network(self, "decoder", (codes,), mean_shape, f"for {self.likelihood}") if "decoder" in own
            else likelihoods.begin_transparent(
                decoder(self.net, codes, mean_shape, *sizes, activation=self.activation), shape, self.likelihood
            )
        ).append(p_head)  # fmt: skip
        nets = {"encoder": Conditional(f, flat, n) if n else f, "decoder": Conditional(g, code, n) if n else g}
        return nets | ({"prior": PseudoInputs(self.pseudo_inputs, shape)} if self.prior == "vamp" else {})

    def encode_batch(self, batch: Batch, encoder: Encoder, k: int = 1) -> EncodedBatch:
        """What a step begins with: x as observed, q(z|x), k samples of it, and what the decoder is given with each."""
        x, labels = self.binarize_batch(batch.x), self.condition_of(batch)
        q = encoder(x, *labels)
        return x, q, q.sample(k), tuple(y.repeat(k) for y in labels)

    def log_prior(self, **nets: Any) -> Callable[[DrawnCodes], LogProbs]:
        """log p(z), in nats, as a function: of N(0, I), or of the VampPrior, 1/K sum_k q(z|u_k)  (arXiv:1705.07120)."""
        if self.prior == "standard":
            return lambda z: normal_log_prob(z).sum(2)
        u = nets["prior"]()
        component: Posterior = nets["encoder"](u)

        def mixture(z: DrawnCodes) -> LogProbs:
            parts = z.flatten(0, 1).split(max(1, DENSITY_CHUNK_SIZE // (len(u) * z.shape[2])))
            each = [component.log_prob(part[:, None].expand(-1, len(u), -1)).logsumexp(1) for part in parts]
            return torch.cat(each).view(z.shape[:2]) - log(len(u))

        return mixture

    def kl_divergence(self, q: Posterior, samples: PosteriorSamples, **nets: Any) -> Float[Tensor, "b d"]:
        """KL(q(z|x) || p(z)) in nats, in terms that sum to it: exact for Gaussians and N(0, I), else from the draw."""
        if self.prior == "standard":
            return q.kl(samples)
        return (samples.log_q.sum(2) - self.log_prior(**nets)(samples.z)).mean(0)[:, None]

    def encode(self, x: Examples, *labels: Tensor, encoder: Encoder, **_: Any) -> Codes:
        """The posterior's mean mu(x)."""
        return encoder(x, *labels).mean

    def sample_posterior(self, x: Examples, *labels: Tensor, encoder: Encoder, **_: Any) -> Codes:
        """One sample z ~ q(z|x) an example: together, samples of the aggregate posterior."""
        return encoder(x, *labels).sample().z[0]

    def generate(self, z: Codes, *labels: Tensor, decoder: Decoder, **_: Any) -> Examples:
        """E[x|z]."""
        return decoder(z, *labels).mean

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **networks: Any) -> Codes:
        """z ~ p(z)."""
        if self.prior == "standard":
            return super().sample_prior(n, shape, generator)
        components = networks["encoder"](networks["prior"]())  # refused for a flow, so a tuple of tensors
        posterior_type, tensors = type(components), [t.cpu() for t in components]

        def draw(m: int) -> tuple[Tensor]:
            index, seed = (torch.randint(high, (m,), generator=generator) for high in (len(tensors[0]), 2**31))
            reseed(CPU, int(seed[0]), "vamp")
            component: Posterior = posterior_type(*(t[index] for t in tensors))
            return (component.sample().z[0],)

        with torch.random.fork_rng(devices=[]):
            return draw_rows(n, draw)[0]

    def elbo_draws(self, batch: Batch, decoder: Decoder, **nets: Any) -> Iterator[ElboTerms]:
        x, q, samples, labels = self.encode_batch(batch, nets["encoder"])
        kl, is_exact = self.kl_divergence(q, samples, **nets), self.prior == "standard" and self.posterior != "iaf"
        while True:
            yield decoder(samples.z[0], *labels).nll(x)[0], kl
            x, samples = self.binarize_batch(x), q.sample()  # bits stay; the random numbers are drawn as always
            kl = kl if is_exact else self.kl_divergence(q, samples, **nets)

    def log_weights(self, x: Examples, k: int, *labels: Tensor, **nets: Any) -> LogProbs:
        encoder: Encoder = nets["encoder"]
        z, log_q = encoder(x, *labels).sample(k)
        p: Likelihood = nets["decoder"](z.flatten(0, 1), *(y.repeat(k) for y in labels))
        return self.log_prior(**nets)(z) - p.nll(x) - log_q.sum(2)

    def latent_statistics(self, batch: Batch, **nets: Any) -> LatentStatistics:
        _, q, samples, _ = self.encode_batch(batch, nets["encoder"])
        return q.mean, self.kl_divergence(q, samples, **nets), samples.z[0]


class PseudoInputs(nn.Module):
    """The learned inputs u_1 ... u_K whose posteriors make up a VampPrior; in [0, 1] for images, as the examples are.

    Tomczak & Welling, VAE with a VampPrior, arXiv:1705.07120.
    """

    def __init__(self, n: int, shape: Shape) -> None:
        super().__init__()
        self.is_bounded = len(shape) > 1
        deviation, mean = (0.01, 0.05) if self.is_bounded else (1.0, 0.0)
        self.raw = nn.Parameter(torch.randn(n, *shape) * deviation + mean)

    def forward(self) -> Float[Tensor, "K *shape"]:
        return self.raw.clamp(0, 1) if self.is_bounded else self.raw
