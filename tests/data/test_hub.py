"""Data sets of the Hugging Face Hub: which files are fetched, once, and what is said where they cannot be had.

The Hub's client is a stand-in with a folder of files; one test holds it against the real one.
"""

import errno
import inspect
import json
import sys
from hashlib import sha1, sha256
from pathlib import Path
from shutil import copy, rmtree
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganvas.data import DataOptions, load
from ganvas.data.hub import import_client
from ganvas.errors import UserError
from ganvas.inference.training_data import source_name
from ganvas.io.download import cache_dir
from tests.support.failures import failing
from tests.support.shards import image_rows, random_images, write_parquet

pytest.importorskip("pyarrow")
NAMES = {b"huggingface": json.dumps({"info": {"features": {"label": {"names": ["dog", "cat"]}}}}).encode()}
CONVERTED = "refs/convert/parquet"
FACES = "hf:ada/faces"


class Hub:
    """What the client is asked of, by revisions of one data set."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched, self.error, self.is_damaged = folder, list[str](), "", False
        self.raised: Exception | None = None  # in place of an error of the client's
        self.has_lfs = True
        self.errors: dict[str, type[Exception]] = {}

    def refuse(self) -> None:
        if self.raised:
            raise self.raised
        if self.error:
            raise self.errors.get(self.error, OSError)("Cannot reach the Hub")

    def dataset_info(self, repo_id: str, *, revision: str, timeout: float, files_metadata: bool) -> Any:
        assert 1 <= timeout <= 30
        self.refuse()
        root = self.folder / revision.rpartition("/")[2]
        if not root.is_dir():
            raise self.errors["RevisionNotFoundError"](revision)
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        files = [
            SimpleNamespace(
                rfilename=path.relative_to(root).as_posix(),
                lfs=SimpleNamespace(sha256=sha256(path.read_bytes()).hexdigest()) if self.has_lfs else None,
                blob_id=sha1(b"blob %d\0" % path.stat().st_size + path.read_bytes()).hexdigest(),
            )
            for path in paths
        ]
        return SimpleNamespace(sha=root.name, siblings=files)

    def cached(self, filename: str, revision: str) -> Path:
        return self.folder / "cache" / revision / filename

    def try_to_load_from_cache(self, repo_id: str, filename: str, *, revision: str, repo_type: str) -> str | None:
        path = self.cached(filename, revision)
        return str(path) if path.is_file() else None

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str, repo_type: str) -> str:
        self.refuse()
        self.fetched.append(filename)
        path = self.cached(filename, revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        copy(self.folder / revision / filename, path)
        if self.is_damaged:
            path.write_bytes(path.read_bytes()[:-1])
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with faces: 20 to learn from in two files, 4 for tests and 3 for validation."""
    made = Hub(tmp_path / "hub")
    client, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    for name, bases in (("RepositoryNotFoundError", (OSError,)), ("RevisionNotFoundError", (OSError,)),
                        ("HFValidationError", (ValueError,))):  # fmt: skip
        made.errors[name] = type(name, bases, {})
    made.errors["GatedRepoError"] = type("GatedRepoError", (made.errors["RepositoryNotFoundError"],), {})
    vars(errors).update(made.errors)
    vars(client).update(errors=errors, HfApi=lambda: made, hf_hub_download=made.hf_hub_download,
                        try_to_load_from_cache=made.try_to_load_from_cache)  # fmt: skip
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    for file, n in (("train/0000", 12), ("train/0001", 8), ("test/0000", 4), ("validation/0000", 3)):
        write(made, f"parquet/default/{file}.parquet", n)
    return made


def write(hub: Hub, path: str, n: int) -> None:
    columns = {"image": image_rows(random_images(n)), "label": [i % 2 for i in range(n)]}
    write_parquet(hub.folder / path, columns, metadata=NAMES)


def test_only_the_files_of_a_split_are_fetched_and_once(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(FACES)
    assert (data.name, len(data), data.shape, data.classes) == ("faces", 20, (3, 8, 8), ("dog", "cat"))
    assert hub.fetched == ["default/train/0000.parquet", "default/train/0001.parquet"]
    assert capsys.readouterr().err.count("downloading hf:ada/faces, default/train/000") == 2
    assert "1 shard for validation, used for nothing" in data.notes
    assert len(load(FACES, DataOptions(split="test"))) == 4
    assert len(load(f"{FACES}:default")) == 20
    assert hub.fetched[2:] == ["default/test/0000.parquet"]
    hub.error = "offline"
    again = load(FACES)
    assert again.fingerprint() == data.fingerprint(), "the network is not needed for what is there"
    assert "the Hub did not answer: version parquet of before is used" in again.notes
    assert not any("did not answer" in note for note in data.notes)


def test_a_record_that_cannot_be_kept_or_is_damaged_is_none(hub: Hub) -> None:
    """It serves starts without network alone."""
    (record := cache_dir() / "hub").parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    assert len(load(FACES)) == 20
    record.unlink()
    record.mkdir()
    for content in (b"{", b"\xff", b'{"repo": "ada/faces", "commit": "parquet", "digests": 3}'):
        (record / "ada--faces.json").write_bytes(content)
        hub.error = "offline"
        with pytest.raises(UserError, match="cannot be fetched"):
            load(FACES)
        hub.error = ""
        assert len(load(FACES)) == 20


def test_a_run_keeps_the_name(hub: Hub) -> None:
    assert source_name(FACES) == FACES


def test_files_of_its_own_are_taken_where_the_hub_has_not_converted_all(hub: Hub) -> None:
    write(hub, "parquet/default/partial-train/0000.parquet", 2)
    (hub.folder / "main").mkdir()
    (hub.folder / "main" / "README.md").write_text("---")
    with pytest.raises(UserError, match="has no Parquet files, or is so large that the Hub has made some only"):
        load(FACES)
    write(hub, "main/data/train-00000-of-00001.parquet", 7)
    write(hub, "main/data/test-00000-of-00001.parquet", 2)
    assert len(load(FACES)) == 7
    assert len(load(FACES, DataOptions(split="test"))) == 2


def test_one_of_several_configurations_is_chosen(hub: Hub) -> None:
    write(hub, "parquet/large/train/0000.parquet", 5)
    data = load(FACES)
    assert len(data) == 20
    assert "configuration default, of 2: hf:ada/faces:NAME takes another" in data.notes
    assert len(load(f"{FACES}:large")) == 5
    with pytest.raises(UserError, match=r"no configuration 'larg', only default, large. Did you mean \"large\"\?"):
        load(f"{FACES}:larg")
    (hub.folder / "parquet" / "default").rename(hub.folder / "parquet" / "small")
    with pytest.raises(UserError, match="has 2 configurations, large, small: choose as hf:ada/faces:large"):
        load(FACES)


REFUSED = {
    "offline": r"hf:ada/faces cannot be fetched \(Cannot reach the Hub\): go online, or give a folder",
    "RepositoryNotFoundError": "the Hugging Face Hub has no data set ada/faces: .* hf auth login",
    "HFValidationError": "the Hugging Face Hub has no data set ada/faces",
    "GatedRepoError": "agreed to its terms: .* at https://huggingface.co/datasets/ada/faces, then log in",
}


@pytest.mark.parametrize("error", REFUSED)
def test_what_the_hub_refuses_is_one_sentence(error: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.error = error
    failing(capsys, ["data", FACES], 2, REFUSED[error])
    hub.error = ""
    assert len(load(FACES)) == 20
    hub.error = error  # between the list of files, of which a record is kept, and the files
    failing(capsys, ["data", FACES, "--split", "test"], 2, REFUSED[error])


def test_a_disk_that_is_full_is_not_taken_for_a_missing_network(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load(FACES)) == 20
    hub.raised = OSError(errno.ENOSPC, "No space left on device", "/cache/file")
    failing(capsys, ["data", FACES], 1, "cannot write /cache/file: no space left on device: make room")
    hub.raised = OSError(errno.ECONNREFUSED, "Connection refused")
    assert len(load(FACES)) == 20
    hub.raised = TypeError("a fault in a program")
    with pytest.raises(TypeError, match="in a program"):
        load(FACES)


def test_paths_of_windows_are_asked_for_with_slashes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backslashes(type(Path())):  # type: ignore[misc]
        def __str__(self) -> str:
            return super().__str__() if self.is_absolute() else super().__str__().replace("/", "\\")

        def as_posix(self) -> str:
            return super().__str__().replace("\\", "/")

    monkeypatch.setattr("ganvas.data.hub.Path", Backslashes)
    assert len(load(FACES)) == 20


def test_splits_are_not_mixed(hub: Hub) -> None:
    write(hub, "parquet/default/extra/0000.parquet", 5)
    data = load(FACES)
    assert len(data) == 20
    assert "left out, neither for training nor for tests: extra" in data.notes
    root = hub.folder / "parquet" / "default"
    for part in ("test", "validation"):
        rmtree(root / part)
    assert len(load(FACES)) == 20, "extra is left out without a test part, too"
    rmtree(root / "train")
    assert len(load(FACES)) == 5, "a single part is all, whatever it is called"
    write(hub, "parquet/default/more/0000.parquet", 5)
    with pytest.raises(UserError, match="has no part for training, only extra, more: download the files"):
        load(FACES)
    write(hub, "parquet/default/test/0000.parquet", 4)
    with pytest.raises(UserError, match="no part for training, only extra, more, test: ask for split=test"):
        load(FACES)
    test = load(FACES, DataOptions(split="test"))
    assert len(test) == 4
    assert "left out, neither for training nor for tests: extra, more" in test.notes


def test_configurations_may_be_called_like_splits(hub: Hub) -> None:
    for split, n in (("train", 6), ("test", 3)):
        write(hub, f"parquet/dev/{split}/0000.parquet", n)
    assert len(load(FACES)) == 20
    assert len(load(f"{FACES}:dev")) == 6
    assert len(load(f"{FACES}:dev", DataOptions(split="test"))) == 3


def test_names_that_are_none(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hf:", "hf:a/b/c", "hf:../x y"):
        failing(capsys, ["data", name], 2, "is no name of a data set on the Hugging Face Hub: give hf:USER/NAME")


def test_a_damaged_file_is_fetched_again(hub: Hub) -> None:
    hub.is_damaged = True
    with pytest.raises(UserError, match=r"default/train/0000.parquet was damaged on its way \(wrong checksum\): try"):
        load(FACES)
    hub.is_damaged = False
    assert len(load(FACES)) == 20


def test_a_file_outside_of_lfs_is_checked_by_its_blob(hub: Hub) -> None:
    hub.has_lfs, hub.is_damaged = False, True
    with pytest.raises(UserError, match="wrong checksum"):
        load(FACES)
    hub.is_damaged = False
    assert len(load(FACES)) == 20


def test_a_file_whose_check_was_stopped_is_fetched_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(file: Path, digest: str | None) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ganvas.data.hub.has_digest", stop)
        with pytest.raises(KeyboardInterrupt):
            load(FACES)
    assert len(load(FACES)) == 20
    assert hub.fetched.count("default/train/0000.parquet") == 2


def test_the_client_is_an_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    failing(capsys, ["data", FACES], 2, r'is fetched by huggingface_hub: pip install "ganvas\[hub\]"')


def test_the_stand_in_is_asked_as_the_client_is() -> None:
    pytest.importorskip("huggingface_hub")
    client = import_client(FACES)
    assert issubclass(client.errors.GatedRepoError, client.errors.RepositoryNotFoundError)
    assert client.errors.RevisionNotFoundError
    assert client.errors.HFValidationError
    for real, ours in (
        (client.HfApi.dataset_info, Hub.dataset_info),
        (client.hf_hub_download, Hub.hf_hub_download),
        (client.try_to_load_from_cache, Hub.try_to_load_from_cache),
    ):
        names = set(inspect.signature(ours).parameters) - {"self"}
        assert names <= set(inspect.signature(real).parameters)
