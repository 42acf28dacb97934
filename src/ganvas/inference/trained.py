"""A trained model in one safetensors file: the weights, and in its header everything needed to use them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .. import __version__
from ..data import DOMAINS, Collection, Scaling, Source, View, holds_images, load, range_in, recorded, whole, with_range
from ..data import scaling as scalings
from ..data.memory import room_for
from ..data.view import asked
from ..distributions.posteriors import normal_terms
from ..distributions.priors import STANDARD, Fitted, Prior, check_drawn, choice, fit, of_kind, restored, stored
from ..errors import UserError, at_least_one
from ..io.atomic import written
from ..io.safetensors import read
from ..model import Encodes, Model, Samples, Shape, Translates, device_of, name_of, plain
from ..models import MODELS
from ..models._variational import Variational
from ..randomness import generator, reseed, rows
from ..viz.images import Examples
from .schema import OfWeights, check, check_config, check_networks, model_in
from .tiling import translated

FORMAT = 1
"""version of the header; a file with a higher one was written by a newer Ganvas"""
WEIGHTS, LAST = "weights.safetensors", "last.safetensors"
"""a run's weights to use, and the last ones where these are the best"""
P = TypeVar("P")
CHUNK, NUMBERS = 256, 2**22
"""examples, and numbers in them, that go through a network at once, at most"""
CODES = 20_000
"""most codes that priors are fitted to and judged by"""
NO_TRANSLATOR = "has one domain, so it translates nothing: cyclegan and discogan do"
NO_NOISE = "draws no examples from noise"
NO_ENCODER = "has no encoder: it can sample, but neither encode nor reconstruct"


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A model with the networks that it keeps: it samples, reconstructs, encodes and decodes."""

    model: Model
    shape: Any
    """of one example, a `Shape`; of a translator those of its domains, (Shape, Shape)"""
    nets: nn.ModuleDict
    about: dict[str, Any] = field(default_factory=dict)
    """what else is known: data, classes, channels, step"""
    folder: Path | None = None
    """the run that it comes from"""
    priors: Fitted | None = None
    """what `fit_prior` fitted"""
    scaling: tuple[Scaling, ...] = ()
    """how it sees the examples of each domain; nothing where vectors are left as they are"""

    def __repr__(self) -> str:
        step, data = (self.about.get(name) for name in ("step", "data"))
        shape = " to ".join("x".join(map(str, s)) for s in (self.shape if self.model.domains == 2 else [self.shape]))
        known = [f"at step {step}" * (step is not None), f"trained on {data}" * (data is not None), f"of {shape}"]
        place = "" if self.folder is None else f", {self.folder}"
        return f"Trained({name_of(self.model)} {' '.join(filter(None, known))}{place})"

    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        prior: str | None = None,
        label: str | int | None = None,
        each: int | None = None,
    ) -> Examples:
        """n new examples (64), decoded from noise; the same for the same seed on every device, the first n of more.

        `prior` is what codes are drawn from: None or "standard" is the model's own, such as N(0, I); "gaussian",
        "mixture" and "flow" are those that `fit_prior` has fitted, and "best" is the one that makes held-out codes
        likeliest.  A conditional model takes a `label`, a class's name or number; without one it goes through the
        classes in turn.  `each` makes so many of every class, a row a class, in place of n.
        """
        if each is not None:
            return self.sample_each(each, seed, prior, n is None and label is None)
        n = at_least_one(64 if n is None else n, "n")
        codes, labels = self.drawn(n, seed, prior), self.chosen(n, label)
        made = self.decode(codes, labels)
        return made if labels is None else replace(made, labels=labels, classes=tuple(self.about["classes"]))

    def sample_each(self, each: int, seed: int, prior: str | None, alone: bool) -> Examples:
        """A row of samples a class, beside its name; UserError unless each stands `alone` and the model has classes."""
        if not alone:
            raise UserError(f"each={each} makes examples of every class, so it needs no n and no label: leave them out")
        if not self.model.labelled:
            raise UserError(f"each={each}: this {name_of(self.model)} was trained without labels: ask for n examples")
        classes, present = self.about["classes"], self.present()
        room_for(at_least_one(each, "each") * len(present), self.shape, f"each={each}")
        labels = torch.tensor(present).repeat_interleave(each)
        z = self.drawn(len(labels), seed, prior).unflatten(0, (each, len(present)))  # so that a row begins like longer
        made = self.decode(z.transpose(0, 1).flatten(0, 1), labels)
        made = replace(made, labels=labels, rows=tuple(classes[i] for i in present), classes=tuple(classes))
        return replace(made, columns=each) if made.x.ndim > 2 else made

    def drawn(self, n: int, seed: int, prior: str | None) -> Tensor:
        """n latent codes from the model's own prior, or from a fitted one."""
        self.needs(Samples, NO_NOISE)
        room_for(n, self.shape, f"n={n}")
        random = generator(torch.device("cpu"), seed, "sample")
        fitted = None if prior in (None, STANDARD) else self.fitted(str(prior))
        return self.noise(n, random) if fitted is None else rows(n, lambda m: (fitted.sample(m, random),))[0]

    def noise(self, n: int, random: torch.Generator) -> Tensor:
        """n latent codes from the model's own prior."""
        model = self.needs(Samples, NO_NOISE)
        with torch.no_grad():
            return model.noise(n, self.shape, random, **self.nets)

    def fitted(self, kind: str) -> Prior | None:
        """The fitted prior of this kind; None where the best is N(0, I), UserError where it was not fitted."""
        return of_kind(
            kind, self.priors, name_of(self.model), f"ganvas fit-prior {self.folder or 'RUN'}",
            isinstance(self.model, Encodes),
        )  # fmt: skip

    def fit_prior(
        self,
        data: Source,
        view: View | None = None,
        *,
        kinds: Sequence[str] | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> "Trained":
        """This model with priors fitted to its codes of the data, in place of any before; `save` keeps them.

        At most `CODES` examples are encoded, chosen at random.  `kinds` and `progress` are those of `priors.fit`.
        """
        self.needs(Encodes, NO_ENCODER)
        collection = self.fitting(data, view)
        choice(kinds)  # refuses what is unknown before the examples are encoded
        picked = collection.some(CODES, seed, "examples")
        progress(f"encoding {len(picked)} of {len(collection)} examples")
        codes = self.draw_codes(picked, seed)
        fitted = fit(codes, seed=seed, kinds=kinds, progress=progress, own=self.log_prior)
        if self.model.labelled:
            said = "they are fitted to the codes of all classes together: with a label, those of other classes come too"
            fitted = replace(fitted, notes=(*fitted.notes, said))
        return replace(self, priors=replace(fitted, data=collection.name))

    @torch.no_grad()
    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) of n codes (n x d) under the model's own prior, in nats."""
        if not isinstance(self.model, Variational):
            return normal_terms(z).sum(1)
        device = device_of(self.nets)
        return self.model.log_prior(z[None].to(device), **self.nets)[0].cpu()

    @torch.random.fork_rng(devices=[])
    def draw_codes(self, data: Collection, seed: int = 0) -> Tensor:
        """A code of each example of a collection, n x d: drawn from the posterior where the code is a distribution."""
        model = self.needs(Encodes, NO_ENCODER)
        reseed(device_of(self.nets), seed, "codes")
        return self.codes(model.draw_codes, data)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Examples:
        """The examples for latent codes z, n x d, of a conditional model with n `labels`."""
        model = self.needs(Samples, "has no decoder")
        if self.model.labelled and labels is None:
            raise UserError(f"this {name_of(self.model)} is conditional: give the labels of the codes")

        def made(*part: Tensor) -> Tensor:  # bytes, a chunk at a time: four times less than the network's numbers
            return self.sees().inverse(model.generate(*part, **self.nets))

        return Examples(self.chunks(made, z, labels if self.model.labelled else None))

    def encode(self, data: Source, view: View | None = None) -> Tensor:
        """Latent codes of examples, n x d: the posterior's mean where the code is a distribution."""
        model = self.needs(Encodes, NO_ENCODER)
        return self.codes(model.encode, self.fitting(data, view))

    def codes(self, encode: Callable[..., Tensor], data: Collection) -> Tensor:
        """What `encode`, a method of the model, makes of examples, n x d."""
        labels = data.labels if self.model.labelled else None
        return self.chunks(lambda x, *y: encode(self.inputs(x), *y, **self.nets), data.x, labels)

    def reconstruct(self, data: Source, view: View | None = None) -> Examples:
        """The examples, encoded and decoded."""
        collection = self.fitting(data, view)
        return self.decode(self.encode(collection), collection.labels)

    def translate(self, images: Source, to: str = "B", view: View | None = None) -> Examples:
        """The translations of examples of one domain to the other, B or A, by a CycleGAN or a DiscoGAN.

        Images may have any size and channels: they get those of their domain, and keep alpha.  Raises UserError for
        examples of another kind, and where the model does not translate that way.
        """
        home, _ = self.towards(to)
        collection = load(images, with_range(images, whole(view), self.about, 1 - DOMAINS.index(to)))
        if collection.are_images != (len(home) == 3) or (len(home) == 1 and collection.shape != home):
            have, want = ("x".join(map(str, s)) for s in (collection.shape, home))
            raise UserError(
                f"{collection.name} has examples of {have}, but this model translates those of {want} to {to}"
            )
        if not collection.are_images:
            return Examples(self.vectors(collection.x, to))
        size = at_once(collection.shape)
        made = torch.cat([self.pixels(part.float() / 255, to) for part in collection.x.split(size)])
        return Examples((made * 255).round().to(torch.uint8))

    def pixels(self, x: Tensor, to: str) -> Tensor:
        """The translations of images n x c x h x w of any size with pixels in [0, 1], as such."""
        home, away = self.towards(to)
        low, high = self.model.span
        before, after = (self.sees(i).premultiplied for i in ((0, 1) if to == "B" else (1, 0)))
        made = translated(
            lambda part: (self.mapped(to, part * (high - low) + low) - low) / (high - low),
            scalings.multiplied_pixels(x) if before else x, home, away,
            self.needs(Translates, NO_TRANSLATOR).fixed(home),
        )  # fmt: skip
        return scalings.divided_pixels(made) if after else made

    def vectors(self, x: Tensor, to: str) -> Tensor:
        """The translations of vectors n x d, each domain in its own units."""
        self.towards(to)
        home, away = (self.sees(i) for i in ((0, 1) if to == "B" else (1, 0)))
        return away.inverse(self.mapped(to, home(x)))

    @torch.no_grad()
    def mapped(self, to: str, x: Tensor) -> Tensor:
        """What the network to this domain returns for examples as it sees them, on the CPU."""
        model = self.needs(Translates, NO_TRANSLATOR)
        return model.translate(x.to(device_of(self.nets)), to, **self.nets).float().cpu()

    @property
    def directions(self) -> tuple[str, ...]:
        """The domains to which it translates: B, and mostly A."""
        return self.needs(Translates, NO_TRANSLATOR).directions(**self.nets)

    def towards(self, to: str) -> tuple[Shape, Shape]:
        """Shapes of the domain that is translated and of `to`; UserError where the model does not translate so."""
        if to not in self.directions:
            raise UserError(f"this {name_of(self.model)} translates to {' and '.join(self.directions)}, not to {to!r}")
        a, b = self.shape
        return (a, b) if to == "B" else (b, a)

    def chosen(self, n: int, label: str | int | None) -> Tensor | None:
        """n labels: those of one class, or all classes in turn; None where the model is not conditional."""
        classes = self.about.get("classes", [])
        if not self.model.labelled:
            if label is not None:
                vae = "it" if isinstance(self.model, Variational) else "a vae"
                how = f"train {vae} with conditional=true, or cgan"
                raise UserError(f"label={label}: this {name_of(self.model)} was trained without labels: {how}")
            return None
        present = self.present()
        if label is None:
            return torch.tensor(present)[torch.arange(n) % len(present)]
        known = str(label) in classes
        if not known and not (str(label).isdigit() and int(label) < len(classes)):
            raise UserError(f"there is no class {label!r}: this model knows {', '.join(classes[:40])}")
        number = classes.index(str(label)) if known else int(label)
        if number not in present:
            there = ", ".join(classes[i] for i in present[:40])
            raise UserError(f"no example of class {classes[number]} was trained on: this model knows {there}")
        return torch.full((n,), number)

    def present(self) -> list[int]:
        """The numbers of the classes that the run's data had examples of."""
        return [i for i in range(len(self.about.get("classes", []))) if i not in self.about.get("absent", [])]

    def fitting(self, data: Source, view: View | None = None) -> Collection:
        """The examples that a source names, as the model learns them; UserError unless they are of its kind."""
        prepared: Collection = self.model.prepare(self.matching(data, view), once=True)
        return prepared

    def matching(self, data: Source, view: View | None = None) -> Collection:
        """The examples that a source names, as they are; UserError unless they are of the model's kind."""
        if self.model.domains == 2:
            raise UserError(
                f"this {name_of(self.model)} has two domains, and no encoder: it can translate, not do this"
            )
        collection = self.loaded(data, whole(view))
        if collection.shape != self.shape or collection.are_images != (len(self.shape) == 3):
            have, want = ("x".join(map(str, s)) for s in (collection.shape, self.shape))
            raise UserError(
                f"{collection.name} has examples of {have}, but this model was trained on {want}"
                + (f": ask for them, {asked(self.shape)}" if len(self.shape) == 3 and collection.are_images else "")
            )
        if self.model.labelled and list(collection.classes) != self.about.get("classes"):
            raise UserError(
                f"{collection.name} has the classes {', '.join(collection.classes[:20]) or '(none)'}, but this model "
                f"was trained on {', '.join(self.about.get('classes', [])[:20])}: give data with the same classes"
            )
        self.model.check(collection)
        return collection

    def loaded(self, data: Source, view: View) -> Collection:
        """A source's collection.  Images by name or path get the run's own size and channels, unless `view` says."""
        view = with_range(data, view, self.about)
        origin = self.origin() if len(self.shape) == 3 else None
        if origin is None or not isinstance(data, str | Path):
            return load(data, view)
        own = View(size=view.size or origin[1].size, channels=view.channels or origin[1].channels)
        if holds_images(Path(data).expanduser()):  # its images may have different sizes: they are resized one by one
            return load(data, replace(view, size=own.size, channels=own.channels))
        collection = load(data, view)
        return load(collection, own) if collection.are_images else collection

    def origin(self) -> tuple[str, View] | None:
        """What the run was trained on, as its config.json says; None where nothing says it, or it was an array."""
        found = self.origins()
        return None if found is None or isinstance(found[0], tuple) else (found[0], found[1])

    def origins(self) -> tuple[str | tuple[str, ...], View] | None:
        """The same, of a translator with the sources of both domains."""
        if self.folder is None:
            return None
        try:
            said = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["data"]
            source = tuple(said["source"]) if isinstance(said["source"], list) else said["source"]
            arrays = "array" in (source if isinstance(source, tuple) else (source,))
            return None if arrays else (source, replace(recorded(said), range=range_in(self.about)))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def sees(self, domain: int = 0) -> Scaling:
        """How the model sees the examples of a domain, 0 (A) or 1 (B); most have one."""
        return self.scaling[domain] if self.scaling else Scaling(self.model.span)

    def inputs(self, x: Tensor, domain: int = 0) -> Tensor:
        """Examples of a collection as the model sees them."""
        return self.sees(domain)(x)

    @torch.no_grad()  # not inference mode, whose results nothing can be learnt from
    def chunks(self, function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """The function of the inputs that are there, computed in chunks on the networks' device."""
        device, size = device_of(self.nets), at_once(self.shape)
        parts = zip(*(t.split(size) for t in inputs if t is not None), strict=True)
        return torch.cat([function(*(t.to(device) for t in part)).cpu() for part in parts])

    def needs(self, protocol: type[P], lacks: str) -> P:
        """The model as one of this protocol; UserError where it lacks it."""
        if not isinstance(self.model, protocol):
            raise UserError(f"{name_of(self.model)} {lacks}")
        return self.model

    def save(self, path: Path) -> None:
        """Write the safetensors file, atomically."""
        tensors, about_priors = stored(self.priors)
        of_scaling, about_scaling = scalings.stored(self.scaling)
        header = self.about | about_priors | about_scaling | {
            "format": FORMAT, "ganvas": __version__, "model": name_of(self.model),
            "fields": plain(self.model), "shape": list(self.shape),
        }  # fmt: skip
        weights = {name: t.detach().cpu().contiguous() for name, t in self.nets.state_dict().items()}
        with written(path) as temporary:
            save_file(weights | tensors | of_scaling, temporary, {"ganvas": json.dumps(header)})


def load_trained(path: str | Path, device: torch.device | None = None) -> Trained:
    """The model in a run folder or a weights file; UserError where it is missing, damaged or does not fit."""
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    header, weights = read(file)
    if not {"model", "fields", "shape"} <= header.keys():
        raise UserError(f"{file} holds no model's weights: give a run folder, or its {WEIGHTS}")
    check(OfWeights, header, file)
    if header.get("format", 0) > FORMAT:
        raise UserError(f"{file} was written by a newer Ganvas ({header.get('ganvas')}): update with pip install -U")
    if header["model"] not in MODELS:
        raise UserError(f"{file} holds a model {header['model']!r}, which this Ganvas does not know")
    if file.name == WEIGHTS:
        check_config(file, header)
    fitted = restored(weights, header, file)
    model = model_in(header, file)
    shape = tuple(tuple(n) if isinstance(n, list) else n for n in header["shape"])
    classes = len(header.get("classes", []))
    scaling = scalings.restored(weights, header, model)
    check_networks(model, shape, classes, weights, False, f"{file}: the weights do not fit its own header")
    networks = model.networks(shape, classes)
    nets = nn.ModuleDict({name: net for name, net in networks.items() if name not in model.scaffolding})
    nets.load_state_dict(weights)
    about = {k: v for k, v in header.items() if k not in ("format", "ganvas", "model", "fields", "shape")}
    nets = nets.to(device or "cpu").eval().requires_grad_(False)
    run = file.parent if (file.parent / "config.json").exists() else None
    trained = Trained(model, shape, nets, about, run, fitted, scaling)
    if fitted is not None:
        check_drawn(fitted, trained.noise(2, generator(torch.device("cpu"), 0, "fits")), file)
    return trained


def at_once(shape: Shape) -> int:
    """How many examples of this shape go through a network together, so that memory suffices for large ones too."""
    return min(CHUNK, max(1, NUMBERS // prod(shape)))
