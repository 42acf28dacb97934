"""A trained model in one safetensors file: the weights, and in its header everything needed to use them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from . import __version__
from .checkpoint import first_line, read
from .data import Collection, Source, View, load, scaled
from .errors import UserError
from .model import DrawsCodes, Encodes, Model, Samples, Shape, device_of, name_of, plain
from .models import MODELS
from .paths import written
from .pictures import Examples, as_examples
from .priors import BEST, KINDS, STANDARD, Fitted, Prior, choice, fit, restored, stored
from .randomness import generator, reseed

FORMAT = 1
"""version of the header; a file with a higher one was written by a newer Ganvas"""
WEIGHTS = "weights.safetensors"
P = TypeVar("P")
CHUNK = 256
"""examples that go through a network at once"""
CODES = 20_000
"""most codes that priors are fitted to and judged by"""
NO_ENCODER = "has no encoder: it can sample, but neither encode nor reconstruct"


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with the networks that it keeps: it samples, reconstructs, encodes and decodes."""

    model: Model
    shape: Shape
    nets: nn.ModuleDict
    about: dict[str, Any] = field(default_factory=dict)
    """what else is known: data, classes, channels, step"""
    folder: Path | None = None
    """the run that it comes from"""
    priors: Fitted | None = None
    """what `fit_prior` fitted"""

    def sample(self, n: int = 64, *, seed: int = 0, prior: str | None = None) -> Examples:
        """n new examples, decoded from noise; the same for the same seed on every device.

        `prior` is what codes are drawn from: None or "standard" is N(0, I); "gaussian", "mixture" and "flow" are those
        that `fit_prior` has fitted, and "best" is the one that makes held-out codes likeliest.
        """
        model = self.needs(Samples, "draws no examples from noise")
        random = generator(torch.device("cpu"), seed, "sample")
        at_least_one(n, "n")
        if prior in (None, STANDARD):
            return self.decode(model.noise(n, random))
        fitted = self.fitted(prior)
        return self.decode(model.noise(n, random) if fitted is None else fitted.sample(n, random))

    def fitted(self, kind: str) -> Prior | None:
        """The fitted prior of this kind; None where the best is N(0, I), UserError where it was not fitted."""
        if kind not in (BEST, *KINDS):
            raise UserError(f"there is no prior {kind!r}: give {', '.join((STANDARD, BEST, *KINDS))}")
        again = f"ganvas fit-prior {self.folder or 'RUN'}"
        if self.priors is None:
            raise UserError(f"no prior was fitted to this {name_of(self.model)}'s codes: run {again}")
        best = self.priors.best if kind == BEST else kind
        if best != STANDARD and best not in self.priors.priors:
            have = ", ".join(self.priors.priors)
            raise UserError(f"this {name_of(self.model)} has no fitted {kind}, only {have}: run {again}")
        return self.priors.priors.get(best)

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
        random = generator(torch.device("cpu"), seed, "examples")
        x = collection.x[torch.randperm(len(collection), generator=random)[:CODES]]
        progress(f"encoding {len(x)} of {len(collection)} examples")
        fitted = fit(self.draw_codes(x, seed), seed=seed, kinds=kinds, progress=progress)
        return replace(self, priors=replace(fitted, data=collection.name))

    @torch.random.fork_rng(devices=[])
    def draw_codes(self, x: Tensor, seed: int = 0) -> Tensor:
        """A code of each example of a collection, n x d: drawn from the posterior where the code is a distribution."""
        model = self.needs(Encodes, NO_ENCODER)
        draw = model.draw_codes if isinstance(model, DrawsCodes) else model.encode
        reseed(device_of(self.nets), seed, "codes")
        return self.chunks(x, lambda part: draw(self.inputs(part), **self.nets))

    def decode(self, z: Tensor) -> Examples:
        """The examples for latent codes z, n x d."""
        model = self.needs(Samples, "has no decoder")
        x = self.chunks(z, lambda part: model.generate(part, **self.nets))
        return as_examples(x, self.model.span)

    def encode(self, data: Source, view: View | None = None) -> Tensor:
        """Latent codes of examples, n x d: the posterior's mean where the code is a distribution."""
        model = self.needs(Encodes, NO_ENCODER)
        x = self.fitting(data, view).x
        return self.chunks(x, lambda part: model.encode(self.inputs(part), **self.nets))

    def reconstruct(self, data: Source, view: View | None = None) -> Examples:
        """The examples, encoded and decoded."""
        return self.decode(self.encode(data, view))

    def fitting(self, data: Source, view: View | None = None) -> Collection:
        """The examples that a source names; UserError unless they have the shape that the model was trained on."""
        collection = load(data, view)
        if collection.shape != self.shape or collection.are_images != (len(self.shape) == 3):
            have, want = ("x".join(map(str, s)) for s in (collection.shape, self.shape))
            raise UserError(
                f"{collection.name} has examples of {have}, but this model was trained on {want}"
                + (": size and channels can be asked for (--size, --channels)" if len(self.shape) == 3 else "")
            )
        return collection

    def inputs(self, x: Tensor) -> Tensor:
        """Examples of a collection as the model sees them."""
        return scaled(x, self.model.span)

    @torch.no_grad()  # not inference mode, whose results nothing can be learnt from
    def chunks(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The function of x, computed in chunks on the networks' device."""
        device = device_of(self.nets)
        return torch.cat([function(part.to(device)).cpu() for part in x.split(CHUNK)])

    def needs(self, protocol: type[P], lacks: str) -> P:
        """The model as one of this protocol; UserError where it lacks it."""
        if not isinstance(self.model, protocol):
            raise UserError(f"{name_of(self.model)} {lacks}")
        return self.model

    def save(self, path: Path) -> None:
        """Write the safetensors file, atomically."""
        tensors, about_priors = stored(self.priors)
        header = self.about | about_priors | {
            "format": FORMAT, "ganvas": __version__, "model": name_of(self.model),
            "fields": plain(self.model), "shape": list(self.shape),
        }  # fmt: skip
        weights = {name: t.detach().cpu().contiguous() for name, t in self.nets.state_dict().items()}
        with written(path) as temporary:
            save_file(weights | tensors, temporary, {"ganvas": json.dumps(header)})


def load_trained(path: str | Path, device: torch.device | None = None) -> Trained:
    """The model in a run folder or a weights file; UserError where it is missing, damaged or does not fit."""
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    header, weights = read(file)
    if header.get("format", 0) > FORMAT:
        raise UserError(f"{file} was written by a newer Ganvas ({header.get('ganvas')}): update with pip install -U")
    if header.get("model") not in MODELS:
        raise UserError(f"{file} holds a model {header.get('model')!r}, which this Ganvas does not know")
    if not {"fields", "shape"} <= header.keys():
        raise UserError(f"{file} holds no model's weights: give a run folder, or its {WEIGHTS}")
    check_config(file, header)
    fitted = restored(weights, header, file)
    model = model_from(header["model"], header["fields"])
    shape: Shape = tuple(header["shape"])
    networks = model.networks(shape)
    nets = nn.ModuleDict({name: networks[name] for name in model.kept})
    try:
        nets.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{file}: the weights do not fit its own header: {first_line(error)}") from error
    about = {k: v for k, v in header.items() if k not in ("format", "ganvas", "model", "fields", "shape")}
    nets = nets.to(device or "cpu").eval().requires_grad_(False)
    run = file.parent if (file.parent / "config.json").exists() else None
    return Trained(model, shape, nets, about, run, fitted)


def check_config(file: Path, header: dict[str, Any]) -> None:
    """UserError where a run folder's weights are those of another model than its config.json says."""
    try:
        config = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
        said = (config["model"], config["fields"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if file.name == WEIGHTS and said != (header["model"], header["fields"]):
        raise UserError(
            f"{file} holds another model ({header['model']}) than the run's config.json says ({said[0]}): "
            "put the run's own file back, or move this one elsewhere"
        )


def model_from(name: str, fields: dict[str, Any]) -> Model:
    """The model with these hyper-parameters; pydantic's ValidationError, a ValueError, where they do not fit."""
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}: this Ganvas knows {', '.join(MODELS)}")
    model: Model = TypeAdapter(MODELS[name]).validate_python(fields)
    return model


def at_least_one(n: int, name: str) -> int:
    if n < 1:
        raise UserError(f"{name}={n}: give 1 or more")
    return n
