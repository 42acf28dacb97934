"""A trained model in one safetensors file: the weights, and in its header everything needed to use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import __version__
from ..data import DataOptions, Dataset, Scaling, Source, check_depth, load, restore_numbers
from ..data.depth import OPAQUE
from ..data.memory import check_examples_fit
from ..data.quantization import read_range
from ..data.scaling import premultiply, unpremultiply
from ..data.stored_scaling import scaling_from_state, scaling_state
from ..data.tables.scaling import TableScaling
from ..distributions import priors as latent_priors
from ..distributions.posteriors import normal_log_prob
from ..distributions.priors import BEST, PRIOR_TYPES, STANDARD
from ..errors import InvalidFileError, UserError
from ..io.run_folder import RunFolder, find_weights
from ..io.safetensors import read_safetensors, write_safetensors
from ..model import EncoderModel, GenerativeModel, Model, TranslationModel, model_name, to_dict
from ..models._own import with_own_networks
from ..models._variational import Variational
from ..nn.cpu import retain_freed_memory
from ..randomness import draw_rows, make_generator, reseed
from ..viz.images import Examples
from .labels import class_labels
from .loading import check_domain, check_whole, load_preprocessed, restore_kind, with_stored_crop
from .networks import keeps_discriminator, load_networks
from .rows import draw_rows_of
from .sampling import sample_examples
from .schema import DEEP_FORMAT_VERSION, FORMAT_VERSION, check_config, parse_weights
from .scores import load_all, resolve_score, score_dataset
from .tiling import translate_images
from .training_data import TrainingData, parse_training_data

OWN_HEADER = ("format", "ganvas", "model", "fields", "shape")
"""what the header says beside `Trained.metadata`"""
P = TypeVar("P")
CPU = torch.device("cpu")
MAX_PRIOR_CODES = 20_000
"""most codes that priors are fitted to and judged by"""
MAX_COPIES = 4
"""most times that each of them is encoded"""
MAX_EXAMPLES_PER_CHUNK, MAX_NUMBERS_PER_CHUNK = 256, 2**22
"""examples, and numbers in them, that go through a network at once, at most"""
NO_TRANSLATOR = "has one domain, so it translates nothing: cyclegan, discogan and cut do"
NO_NOISE = "draws no examples from noise"
NO_ENCODER = "has no encoder: it can sample, but neither encode nor reconstruct"


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A model with the networks that it keeps: it samples, reconstructs, encodes and decodes."""

    model: Model
    shape: Any
    """of one example, a `Shape`; of a translator those of its domains, (Shape, Shape)"""
    nets: nn.ModuleDict
    metadata: dict[str, Any] = field(default_factory=dict)
    """what else is known: data, classes, channels, step"""
    folder: Path | None = None
    """the run that it comes from"""
    priors: latent_priors.FittedPriors | None = None
    """what `fit_prior` fitted"""
    scaling: tuple[Scaling, ...] = ()
    """how it sees the examples of each domain; nothing where vectors are left as they are"""
    discriminator: nn.Module | None = None
    """that of a GAN which keeps it"""

    def __repr__(self) -> str:
        step, data = (self.metadata.get(name) for name in ("step", "data"))
        shape = " to ".join("x".join(map(str, s)) for s in (self.shape if self.model.n_domains == 2 else [self.shape]))
        details = [f"at step {step}" * (step is not None), f"trained on {data}" * (data is not None), f"of {shape}"]
        location = "" if self.folder is None else f", {self.folder}"
        return f"Trained({model_name(self.model)} {' '.join(filter(None, details))}{location})"

    def sample(
        self, n: int | None = None, *, seed: int = 0, fitted_prior: str | None = None, label: str | int | None = None,
        per_class: int | None = None, where: Mapping[str, Any] | None = None, like: Any = None,
        balance: str | None = None,
    ) -> Any:  # fmt: skip
        """n new examples (64), decoded from noise, as `Examples`, or of a table as a pandas DataFrame.

        The same for the same seed on every device, the first n of more.  Codes are drawn from `fitted_prior`:
        "standard" is the model's own, such as N(0, I); "gaussian", "mixture" and "flow" are those fitted to its codes,
        by its run or by `fit_prior`, and "best" is the one that makes held-out codes likeliest.  None is "best" where
        any was fitted, else "standard".  A conditional model takes a `label`, a class's name or number; without one it
        goes through the classes in turn.  `per_class` makes so many of every class, a row a class, in place of n.
        Of a table's rows `where` gives values that all have, e.g. {"sex": "Female"}, `like` (a data frame) those of
        each, whose other values are drawn, and `balance` names a column of which each value comes equally often.
        """
        asked = {"where": where, "like": like, "balance": balance}
        examples = sample_examples(self, n, seed, fitted_prior, label, per_class, **asked)
        return examples.frame() if isinstance(examples.scaling, TableScaling) else examples

    def sample_codes(self, n: int, seed: int, fitted_prior: str | None) -> Tensor:
        """n latent codes from the prior of this kind."""
        self.require(GenerativeModel, NO_NOISE)
        check_examples_fit(n, self.shape, f"n={n}")
        return self.draw_codes(n, make_generator(CPU, seed, "sample"), fitted_prior)

    def draw_codes(self, n: int, random: torch.Generator, fitted_prior: str | None = None) -> Tensor:
        """n latent codes by this generator, from the prior of this kind, by default that which samples come from."""
        prior = self.get_fitted_prior(fitted_prior)
        return self.sample_prior(n, random) if prior is None else draw_rows(n, lambda m: (prior.sample(m, random),))[0]

    def sample_prior(self, n: int, random: torch.Generator) -> Tensor:
        """n latent codes from the model's own prior."""
        model = self.require(GenerativeModel, NO_NOISE)
        with torch.no_grad():
            return model.sample_prior(n, self.shape, random, **self.nets)

    def get_fitted_prior(self, kind: str | None) -> latent_priors.Prior | None:
        """The fitted prior of this kind, None where that is the model's own; UserError where it was not fitted."""
        kind = kind or self.default_prior
        if kind == STANDARD:
            return None
        name, command = model_name(self.model), f"ganvas fit-prior {self.folder or 'RUN'}"
        if kind not in (BEST, *PRIOR_TYPES):
            raise UserError(f"there is no prior {kind!r}: give {', '.join((STANDARD, BEST, *PRIOR_TYPES))}")
        if not isinstance(self.model, EncoderModel):
            raise UserError(f"prior={kind}: this {name} has no encoder to fit a prior to the codes of: leave it out")
        if self.priors is None:
            raise UserError(f"no prior was fitted to this {name}'s codes: run {command}")
        fitted, kind = self.priors.priors, self.priors.best if kind == BEST else kind
        if kind not in (STANDARD, *fitted):
            raise UserError(f"this {name} has no fitted {kind}, only {', '.join(fitted)}: run {command}")
        return fitted.get(kind)

    @property
    def default_prior(self) -> str:
        """The kind of prior that samples come from unless another is asked for."""
        return STANDARD if self.priors is None else self.priors.best

    def fit_prior(
        self, data: Source, options: DataOptions | None = None, *, kinds: Sequence[str] | None = None, seed: int = 0,
        progress: Callable[[str], None] = lambda line: None, copies: int = MAX_COPIES,
    ) -> "Trained":  # fmt: skip
        """This model with priors fitted to its codes of the data, in place of any before; `save` keeps them.

        At most `MAX_PRIOR_CODES` examples are encoded, chosen at random.  Where `augment` changed those that it learnt
        from, each is encoded up to `copies` times, changed likewise: more codes make a better mixture.  `kinds` and
        `progress` are for `fit_priors`.
        """
        self.require(EncoderModel, NO_ENCODER)
        dataset = load_preprocessed(self, data, options)
        latent_priors.resolve_kinds(kinds)  # refuses what is unknown before the examples are encoded
        subset = dataset.sample(MAX_PRIOR_CODES, seed, "examples")
        progress(f"encoding {len(subset)} of {len(dataset)} examples")
        examples = subset
        if isinstance(self.model, Variational):
            examples = self.model.changed_copies(subset, min(copies, MAX_PRIOR_CODES // len(subset)), seed)
        copies, codes = len(examples) // len(subset), self.sample_posterior(examples, seed)
        settings: dict[str, Any] = {"seed": seed, "kinds": kinds, "progress": progress, "log_prior": self.log_prior}
        fitted = latent_priors.fit_priors(codes, copies=copies, **settings)
        note = "they are fitted to the codes of all classes together: with a label, those of other classes come too"
        notes = (*fitted.notes, note) if self.model.is_conditional else fitted.notes
        return replace(self, priors=replace(fitted, notes=notes, data=dataset.name))

    @torch.no_grad()
    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) of n codes (n x d) under the model's own prior, in nats."""
        if not isinstance(self.model, Variational):
            return normal_log_prob(z).sum(1)
        return self.model.log_prior(**self.nets)(z[None].to(self.device))[0].cpu()

    @torch.random.fork_rng(devices=[])
    def sample_posterior(self, data: Dataset, seed: int = 0) -> Tensor:
        """A code of each example of a dataset, n x d: drawn from the posterior where the code is a distribution."""
        model = self.require(EncoderModel, NO_ENCODER)
        reseed(self.device, seed, "codes")
        return self.encode_with(model.sample_posterior, data)

    def decode(self, z: Tensor, labels: Tensor | None = None, noise: Tensor | None = None) -> Examples:
        """The examples for latent codes z, n x d, of a conditional model with n `labels`; `noise` as `generate` has."""
        is_conditional = self.model.is_conditional
        if is_conditional and labels is None:
            raise UserError(f"this {model_name(self.model)} is conditional: give the labels of the codes")
        return self.generate(z, labels if is_conditional else None, noise)

    def generate(self, z: Tensor, labels: Tensor | None, noise: Tensor | None = None) -> Examples:
        """The examples for latent codes z, n x d, and the labels that a conditional model is given.

        Entries of a table's rows are drawn by the uniform `noise` of `draw_noise`; without it they are the likeliest.
        """
        model, scaling, nets = self.require(GenerativeModel, "has no decoder"), self.domain_scaling(), self.nets
        if noise is not None:
            return Examples(self.map_chunks(partial(draw_rows_of, self), z, noise, labels), scaling=scaling)
        # bytes, a chunk at a time: four times less than the network's numbers
        x = self.map_chunks(lambda *part: scaling.inverse(model.generate(*part, **nets)), z, labels)
        return Examples(x, scaling=scaling)

    def encode(self, data: Source, options: DataOptions | None = None) -> Tensor:
        """Latent codes of examples, n x d: the posterior's mean where the code is a distribution."""
        model = self.require(EncoderModel, NO_ENCODER)
        return self.encode_with(model.encode, check_whole(load_preprocessed(self, data, options), data))

    def encode_with(self, encode: Callable[..., Tensor], data: Dataset) -> Tensor:
        """What `encode`, a method of the model, makes of examples, n x d."""
        labels = data.labels if self.model.is_conditional else None
        return self.map_chunks(lambda x, *y: encode(self.domain_scaling()(x), *y, **self.nets), data.x, labels)

    def reconstruct(self, data: Source, options: DataOptions | None = None) -> Examples:
        """The examples, encoded and decoded."""
        dataset = check_whole(load_preprocessed(self, data, options), data)
        return self.decode(self.encode(dataset), dataset.labels)

    def score(
        self, data: Source, kind: str | None = None, options: DataOptions | None = None, *,
        importance_samples: int | None = None, seed: int = 0, to: str = "B",
    ) -> Tensor:  # fmt: skip
        """How strange n examples are, n numbers, larger is stranger: `scores.py` defines each kind.

        `importance_samples` are for the score likelihood; a translator scores what it translates `to` B or A.
        """
        kind = resolve_score(self, kind, importance_samples)
        dataset = load_all(self, data, options, to)
        return score_dataset(self, dataset, kind, importance_samples=importance_samples, seed=seed, to=to)

    def translate(self, data: Source, to: str = "B", options: DataOptions | None = None) -> Examples:
        """The translations of examples of one domain to the other, B or A, by a translator.

        Images have any size, and channels, which become those of their domain, alpha aside; deep ones have its own.
        UserError for examples of another kind, and where the model does not translate that way.
        """
        a, b = self.domains(to)
        source, target = self.domain_scaling(a), self.domain_scaling(b)
        options = restore_numbers(data, restore_kind(data, options, self.shape[a], source), self.metadata, source, a)
        if not source.may_have_alpha and len(self.shape[a]) == 3:  # others: in `translate_images`
            options = replace(options, background=with_stored_crop(options, self).background or "white")
        dataset = check_depth(check_whole(load(data, options), data), source)
        check_domain(dataset, self.shape[a], to, any_size=True)
        if dataset.kind == "vector":
            return Examples(self.translate_batch(dataset.x, to))
        parts = dataset.x.split(chunk_size(dataset.shape))
        x = torch.cat([target.from_unit(self.translate_batch(source.to_unit(part), to)) for part in parts])
        return Examples(x, scaling=target)

    @torch.no_grad()
    def translate_batch(self, x: Tensor, to: str) -> Tensor:
        """The translations of images n x c x h x w of any size with pixels in [0, 1], or of vectors n x d, as such.

        Of signals and volumes, with numbers in [0, 1], those of the model's size.
        """
        domains, model = self.domains(to), self.require(TranslationModel, NO_TRANSLATOR)
        (low, high), (source, target) = self.model.pixel_range, map(self.domain_scaling, domains)

        def translate(u: Tensor) -> Tensor:
            return model.translate(u.to(self.device), to, **self.nets).float().cpu()

        if x.ndim == 2:
            return target.inverse(translate(source(x)))
        if x.ndim != 4:
            return (translate(x * (high - low) + low) - low) / (high - low)
        a, b = (self.shape[i] for i in domains)
        x, scale = premultiply(x) if source.premultiplied else x, high - low
        options = with_stored_crop(DataOptions(), self)
        translations = translate_images(
            lambda part: (translate(part * scale + low) - low) / scale, x, a, b,
            crop=options.crop or "center" if self.has_fixed_size(to) else None, background=options.background_colour,
            may_have_alpha=source.may_have_alpha and target.may_have_alpha,
        )  # fmt: skip
        opaque = OPAQUE if target.is_deep else 255
        return unpremultiply(translations, opaque) if target.premultiplied else translations

    @property
    def directions(self) -> tuple[str, ...]:
        """The domains to which it translates: B, and mostly A."""
        return self.require(TranslationModel, NO_TRANSLATOR).directions(**self.nets)

    def domains(self, to: str) -> tuple[int, int]:
        """Those translated and `to`, 0 for A and 1 for B; UserError where the model does not translate that way."""
        if to not in self.directions:
            targets = " and ".join(self.directions)
            raise UserError(f"this {model_name(self.model)} translates to {targets}, not to {to!r}")
        return (0, 1) if to == "B" else (1, 0)

    def has_fixed_size(self, to: str) -> bool:
        """Whether the translator `to` B or A takes images of one size only."""
        return self.require(TranslationModel, NO_TRANSLATOR).has_fixed_size(self.shape[self.domains(to)[0]])

    def class_labels(self, n: int, label: str | int | None) -> Tensor | None:
        """n labels: those of one class, or all classes in turn; None where the model is not conditional."""
        return class_labels(self, n, label)

    @property
    def present_classes(self) -> list[int]:
        """The numbers of the classes that the run's data had examples of."""
        absent = self.metadata.get("absent_classes", [])
        return [i for i in range(len(self.metadata.get("classes", []))) if i not in absent]

    @property
    def training_data(self) -> TrainingData | None:
        """What the run was trained on; None where nothing says it, or it was an array.

        Black and white are those that the header of the weights has, if any.
        """
        if self.folder is None:
            return None
        try:
            data = parse_training_data(self.folder, RunFolder(self.folder).read_config()["data"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        options = replace(data.options, range=read_range(self.metadata))
        return None if data.has_arrays else replace(data, options=options)

    @property
    def device(self) -> torch.device:
        """That of its networks."""
        return next(self.nets.parameters()).device

    def domain_scaling(self, domain: int = 0) -> Scaling:
        """How the model sees the examples of a domain, 0 (A) or 1 (B); most have one."""
        return self.scaling[domain] if self.scaling else Scaling(self.model.pixel_range)

    @torch.no_grad()  # not inference mode, whose results nothing can be learnt from
    def map_chunks(self, function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """The function of the inputs that are there, computed in chunks on the networks' device."""
        device, size = self.device, chunk_size(self.shape)
        parts = zip(*(t.split(size) for t in inputs if t is not None), strict=True)
        return torch.cat([function(*(t.to(device) for t in part)).cpu() for part in parts])

    def require(self, protocol: type[P], message: str) -> P:
        """The model as one of this protocol; UserError where it lacks it."""
        if isinstance(self.model, protocol):
            return self.model
        if isinstance(self.model, TranslationModel):
            message = f"{message.partition(':')[0]}: it translates, use `ganvas translate`"
        raise UserError(f"{model_name(self.model)} {message}")

    def save(self, path: Path) -> None:
        """Write the safetensors file, atomically; it takes the place of another once it was read back from the disk."""
        prior_tensors, prior_header = latent_priors.serialize_priors(self.priors)
        scaling_tensors, scaling_header = scaling_state(self.scaling)
        version = DEEP_FORMAT_VERSION if "dtypes" in scaling_header else FORMAT_VERSION
        own = (version, __version__, model_name(self.model), to_dict(self.model), list(self.shape))
        header = self.metadata | prior_header | scaling_header | dict(zip(OWN_HEADER, own, strict=True))
        nets = self.nets if self.discriminator is None else nn.ModuleDict({**self.nets, "D": self.discriminator})
        write_safetensors(path, header, dict(nets.state_dict()) | prior_tensors | scaling_tensors)


def load_trained(path: str | Path, device: torch.device | None = None, **networks: nn.Module) -> Trained:
    """The model in a run folder or a weights file; UserError where it is missing, damaged or does not fit.

    `networks` are those of the user's own with which it was trained, e.g. encoder=MyEncoder(): the file has no code.
    """
    file, folder, config = find_weights(path)
    header, weights = read_safetensors(file)
    model = parse_weights(header, file)
    if config and file == folder.weights and any(config.get(part) != header[part] for part in ("model", "fields")):
        check_config(file, header, config)
    if networks or "own_networks" in header:
        model = with_own_networks(model, header.get("own_networks", {}), networks, path)
    has_priors = "priors" in header or any(name.startswith("prior/") for name in weights)
    priors = latent_priors.deserialize_priors(weights, header, file) if has_priors else None
    shape = tuple(tuple(n) if isinstance(n, list) else n for n in header["shape"])
    classes = len(header.get("classes", []))
    try:
        scaling = scaling_from_state(weights, header, model)
    except ValueError as error:
        raise InvalidFileError(f"{file}: {error}") from error
    shape = getattr(scaling[0], "shape", shape)  # a table's knows its blocks
    mismatch = f"{file}: the weights do not fit its own header"
    nets = load_networks(model, shape, classes, weights, keeps_discriminator(model), mismatch).to(device or CPU)
    discriminator = nets.pop("D") if keeps_discriminator(model) else None
    retain_freed_memory()  # or every chunk of examples would wait for new pages
    metadata = {k: v for k, v in header.items() if k not in OWN_HEADER}
    run = folder.path if folder.config.exists() else None
    trained = Trained(model, shape, nets, metadata, run, priors, scaling, discriminator)
    if priors is not None:
        latent_priors.validate_priors(priors, trained.sample_prior(2, make_generator(CPU, 0, "fits")), file)
    return trained


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many examples of this shape go through a network together, so that memory suffices for large ones too."""
    return min(MAX_EXAMPLES_PER_CHUNK, max(1, MAX_NUMBERS_PER_CHUNK // prod(shape)))
