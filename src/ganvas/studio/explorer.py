"""Loaded models that pages explore: few at a time, each loaded once; one request at a time uses one."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..data import DataOptions, Dataset
from ..data.tables.scaling import TableScaling
from ..errors import UserError
from ..explore import lerp, measure_usage, slerp
from ..explore.dimensions import LatentUsage, load_examples
from ..inference.loading import load_preprocessed
from ..inference.sampling import sample_examples
from ..inference.trained import Trained, load_trained
from ..io.run_folder import RunFolder
from ..metrics.neighbours import distance_chunks
from ..model import EncoderModel, GenerativeModel, TranslationModel
from ..models.ctgan import CTGAN
from ..nn.device import resolve_device
from ..randomness import generators, make_generator
from ..viz.images import Examples

MAX_MODELS, MAX_UPLOADS, MAX_CODES = 4, 32, 400
"""models, codes of uploads of each, and codes of one picture, that are kept or decoded"""
MAX_NEIGHBOURS_DATA = 20_000
"""training examples among which the nearest are looked for"""
IMAGE_FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


class Explorer:
    """A run's model, what is known of its latent space, and the codes of pictures that were sent."""

    def __init__(self, trained: Trained) -> None:
        self.trained: Trained = trained
        self.lock: RLock = generators
        self.uploads: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def draws(self) -> bool:
        """Whether it makes examples from codes."""
        return isinstance(self.trained.model, GenerativeModel) and self.trained.model.n_domains == 1

    @property
    def encodes(self) -> bool:
        """Whether it has codes of examples."""
        return isinstance(self.trained.model, EncoderModel)

    @property
    def translates(self) -> bool:
        """Whether it turns examples of one domain into those of another."""
        return isinstance(self.trained.model, TranslationModel)

    @property
    def table(self) -> TableScaling | None:
        """How it sees rows, where it learnt a table."""
        scaling = None if self.translates else self.trained.domain_scaling()
        return scaling if isinstance(scaling, TableScaling) else None

    @property
    def n_dimensions(self) -> int:
        """Numbers of a code that can be moved: the last of CTGAN's is the place of its condition."""
        return len(self.usage.weight) - isinstance(self.trained.model, CTGAN)

    @cached_property
    def data(self) -> Dataset | None:
        """What the run was trained on; None where nothing says it, or it is gone."""
        try:
            return None if self.translates else load_examples(self.trained, None, None)
        except (UserError, OSError):
            return None

    def known_data(self) -> Dataset:
        """The same; UserError where there are none."""
        if self.data is None:
            raise UserError("nothing says what this run was trained on, or it is gone")
        return self.data

    @cached_property
    def usage(self) -> LatentUsage:
        """How codes use the latent dimensions; without an encoder, or its data, as the prior does."""
        if self.encodes and self.data is not None:
            return measure_usage(self.trained, self.data)
        d = self.trained.sample_prior(1, make_generator(torch.device("cpu"), 0)).shape[1]
        return LatentUsage(torch.zeros(d), "", torch.zeros(d), torch.ones(d))

    def base_code(self, seed: int, upload: str = "") -> Tensor:
        """The code from which sliders start, 1 x d: that of a seed, or of a picture that was sent."""
        if upload:
            if upload not in self.uploads:
                raise UserError(
                    f"{upload[:50]!r} is no picture that the studio still has: send it again, or give a seed"
                )
            return self.uploads[upload]
        return self.trained.draw_codes(1, make_generator(torch.device("cpu"), seed, "sample"))

    def code_named(self, text: str) -> Tensor:
        """The code of a seed, or of a picture that was sent, 1 x d."""
        return (
            self.base_code(int(text)) if text.isdecimal() and len(text) <= 10 else self.base_code(0, text or "nothing")
        )

    def moved_code(self, base: Tensor, moves: dict[int, float]) -> Tensor:
        """A code with some dimensions at so many deviations from the middle of all codes."""
        z = base.clone()
        for j, value in moves.items():
            if not 0 <= j < self.n_dimensions:
                raise UserError(f"z[{j}]: the codes have the dimensions 0 to {self.n_dimensions - 1}")
            z[:, j] = self.usage.centre[j] + value * self.usage.scale[j]
        return z

    def decode(self, z: Tensor, label: str | None) -> Examples:
        """The examples for codes n x d, of a class where the model has some."""
        if len(z) > MAX_CODES:
            raise UserError(f"these are {len(z)} pictures: ask for {MAX_CODES} at most")
        label = label or (self.classes[0] if self.classes else None)
        return self.trained.decode(z, self.trained.class_labels(len(z), label))

    @property
    def classes(self) -> list[str]:
        """The classes that can be asked for."""
        if not self.trained.model.is_conditional:
            return []
        names = self.trained.metadata.get("classes", [])
        return [names[i] for i in self.trained.present_classes]

    def plane(self, base: Tensor, across: int, up: int, side: int, label: str | None) -> Examples:
        """side x side examples on a plane of two dimensions, from -3 to 3 deviations, the second upwards."""
        steps = torch.linspace(-3, 3, side).tolist()
        codes = [self.moved_code(base, {across: u, up: v}) for v in reversed(steps) for u in steps]
        return replace(self.decode(torch.cat(codes), label), columns=side)

    def walk(self, first: Tensor, last: Tensor, columns: int, label: str | None, is_noise: bool) -> Examples:
        """A walk from one code to another: an arc between draws of noise, else a line."""
        if is_noise and self.trained.get_fitted_prior(None) is None:
            model = self.trained.model
            z = model.from_normal(slerp(model.to_normal(first), model.to_normal(last), columns))[0]
        else:
            z = lerp(first, last, columns)[0]
        return replace(self.decode(z, label), columns=columns, is_walk=len(self.trained.shape) > 1)

    def nearest(self, n: int, seed: int, k: int) -> Examples:
        """n samples, a row each, and the k training examples nearest to each, by the mean square of differences."""
        data = self.known_data().sample(MAX_NEIGHBOURS_DATA, 0, "nearest")
        samples = sample_examples(self.trained, n, seed=seed)
        parts = [d for _, d in distance_chunks(samples.x.flatten(1).double(), data.x.flatten(1).double())]
        index = torch.cat(parts).topk(min(k, len(data)), largest=False).indices
        x = torch.cat([samples.x[:, None], data.x[index]], 1).flatten(0, 1)
        heads = ("sample", *("nearest" if i == 0 else "" for i in range(index.shape[1])))
        return replace(samples, x=x, columns=len(heads), column_labels=heads, labels=None, row_labels=())

    def encode_upload(self, content: bytes, name: str) -> tuple[Examples, Tensor]:
        """A picture that was sent, as the model sees it above what it makes of it, and its code."""
        with sent_picture(content) as path:
            dataset = self.trained_inputs(path)
            z = self.trained.encode(dataset)
            reconstruction = self.trained.decode(z, dataset.labels if self.trained.model.is_conditional else None)
        self.uploads[name] = z[:1]
        while len(self.uploads) > MAX_UPLOADS:
            self.uploads.popitem(last=False)
        return replace(reconstruction, x=torch.cat([dataset.x, reconstruction.x]), columns=2), z[:1]

    def trained_inputs(self, path: Path) -> Dataset:
        """A picture as an example for this model, of the first class where it takes classes."""
        _, *size = self.trained.shape
        dataset = load_preprocessed(self.trained, str(path), DataOptions(size="x".join(map(str, size))))
        if self.classes:
            return replace(dataset, labels=self.trained.class_labels(len(dataset), self.classes[0]))
        return dataset

    def translate(self, content: bytes, to: str) -> Examples:
        """The translation of a picture that was sent."""
        with sent_picture(content) as path:
            return self.trained.translate(str(path), to)


@contextmanager
def sent_picture(content: bytes) -> Iterator[Path]:
    """A file with a picture that was sent; UserError where it is none."""
    from io import BytesIO

    try:
        with Image.open(BytesIO(content)) as picture:
            suffix = IMAGE_FORMATS.get(picture.format or "")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        suffix = None
    if suffix is None:
        raise UserError("this is no picture: send a PNG, JPEG or WebP")
    with TemporaryDirectory(prefix="ganvas-") as folder:
        path = Path(folder) / f"picture{suffix}"
        path.write_bytes(content)
        yield path


explorers: OrderedDict[tuple[Path, int], Explorer] = OrderedDict()
"""loaded models by folder and the time of their weights, that used last at the end"""


def open_explorer(folder: Path) -> Explorer:
    """The model of a run as its weights are now; UserError where it has none yet."""
    if (weights := RunFolder(folder).weights).is_symlink():
        raise UserError(f"{weights} is a link: the studio reads none")
    try:
        key = folder.resolve(), weights.stat().st_mtime_ns
    except OSError:
        raise UserError(f"{folder.name} has no weights yet: wait for its first checkpoint") from None
    with generators:
        if key not in explorers:
            for old in [old for old in explorers if old[0] == key[0]]:
                del explorers[old]
            explorers[key] = Explorer(load_trained(folder, resolve_device("auto")))
        explorers.move_to_end(key)
        while len(explorers) > MAX_MODELS:
            explorers.popitem(last=False)
        return explorers[key]
