"""Weights that others have published: where they may be, and how they are read and fetched.

They are files of torch.save, which hold a pickle.  So none is opened but the one whose SHA-256 is known to be the
published one's, and that by torch's reader of weights only, which runs no code (since torch 2.6; CVE-2025-32434).
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError
from ...io.download import cache_dir, download


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights, and where it may be."""

    name: str
    """of the features"""
    digest: str
    """its SHA-256, in hexadecimal"""
    files: tuple[str, ...]
    """what the file is called, the first by us; of a package, the path in it"""
    package: str = ""
    """the installed package that holds it, if any"""
    remedy: str = ""
    """what to do where it is not there"""
    env_variable: str = ""
    """environment variable that may say where it is"""
    mirrors: tuple[str, ...] = ()
    """addresses to fetch it from, if the user asks for that"""

    def find(self) -> Path | None:
        """The file, if it exists: in its package or the caches, or where the user says, and then nowhere else."""
        if self.package:
            spec = find_spec(self.package)
            folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
        else:
            folders = [cache_dir() / "features", Path(torch.hub.get_dir()) / "checkpoints"]
        env_path = os.environ.get(self.env_variable)
        paths = [Path(env_path).expanduser()] if env_path else [d / file for d in folders for file in self.files]
        return next((path for path in paths if path.is_file()), None)

    def load(self) -> dict[str, Tensor]:
        """The published weights; UserError where they are not there, or are others."""
        path = self.find()
        if path is None:
            env_path = os.environ.get(self.env_variable)
            hint = f": {self.env_variable}={env_path} is no file" if env_path else ""
            raise UserError(f"the weights of features={self.name} are not there{hint}: {self.remedy}")
        content = path.read_bytes()  # once: what is checked is what is read
        if sha256(content).hexdigest() != self.digest:
            raise UserError(f"{path} does not hold the published weights of {self.name}: {self.remedy}")
        weights: dict[str, Tensor] = torch.load(BytesIO(content), "cpu", weights_only=True)
        return dict(weights)

    def download(self) -> Path:
        """Fetch the file from the first mirror that has it, and keep it only if it is what was published."""
        if not self.mirrors:
            raise UserError(f"the weights of {self.name} are not fetched by Ganvas: {self.remedy}")
        path = cache_dir() / "features" / self.files[0]
        advice = f"put {path.name} into {path.parent}, or say where it is with {self.env_variable}"
        return download(path, self.digest, self.mirrors, self.name, advice)
