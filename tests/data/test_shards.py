"""WebDataset's shards: what is read of them, in memory and as a stream, and what is said where they are damaged."""

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.data import (
    DataOptions,
    Dataset,
    MissingSplitError,
    MixedSizesError,
    StreamedDataset,
    class_counts,
    load,
    load_all,
    shards,
    webdataset,
)
from ganvas.errors import UserError
from tests.support.shards import encode, examples, random_images, write_shards, write_tar

ALL = DataOptions(holdout=0)
STREAMED = DataOptions(holdout=0, stream="always")


def streamed(source: Path | str, options: DataOptions = STREAMED) -> StreamedDataset:
    data = load_all(str(source), options)
    assert isinstance(data, StreamedDataset)
    return data


def pixels(n: int) -> torch.Tensor:
    return torch.from_numpy(np.stack(random_images(n))).permute(0, 3, 1, 2)


def test_small_shards_are_a_dataset_like_any(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "photos")
    (folder / "readme.md").write_text("x")
    data = load_all(folder, ALL)
    assert isinstance(data, Dataset)
    assert torch.equal(data.x, pixels(60))
    assert data.labels is not None
    assert data.labels.tolist() == [i % 3 for i in range(60)]
    assert (data.classes, data.name) == (("0", "1", "2"), "photos")
    for source in (f"{folder}/data-{{000..005}}.tar", f"{folder}/data-*.tar", f"{folder}/*"):
        assert load(source, ALL).fingerprint() == data.fingerprint()
    one = load(folder / "data-003.tar", ALL)
    assert torch.equal(one.x, pixels(60)[30:40])
    assert one.name == "data-003"


def test_a_folder_of_images_beside_a_tar_is_read_as_before(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "photos", 10)
    (folder / "cat").mkdir()
    (folder / "cat" / "a.png").write_bytes(encode(random_images(1)[0]))
    data = load(folder)
    assert (len(data), data.classes) == (1, ("cat",))
    assert "1 file left out: 1 .tar" in data.notes


def test_json_has_the_label_too_and_other_members_are_counted(tmp_path: Path) -> None:
    image = encode(random_images(1)[0], "WEBP")
    members = [
        ("a/x.1.webp", image),  # a name ends at its first dot: the suffix is .1.webp, no image's
        *((f"a/{i}.webp", image) for i in range(4)),
        ("a/0.json", b'{"label": "cat", "caption": "x"}'),
        ("a/1.json", b'{"class": 3.0}'),
        ("a/2.json", b'{"label": [0, 1]}'),
        ("a/3.cls", b" dog\n"),
        ("a/3.json", b'{"label": "cat"}'),  # .cls is what counts
        ("a/3.txt", b"a dog"),
        ("a/9.cls", b"1"),
    ]
    data = load(write_tar(tmp_path / "x.tar", members), ALL)
    assert class_counts(data) == {"1": 1, "3": 1, "cat": 1, "dog": 1}
    assert data.labels is not None
    assert [data.classes[i] for i in data.labels] == ["cat", "3", "1", "dog"]
    assert "3 members left out: 1 .1.webp, 1 .txt, 1 label without image" in data.notes


def test_hidden_members_are_not_counted(tmp_path: Path) -> None:
    image = encode(random_images(1)[0])
    names = ("./a.png", "../b.png", ".c.png", "__MACOSX/._a.png", ".git/d.txt", "x/Thumbs.db", "desktop.ini")
    data = load(write_tar(tmp_path / "x.tar", [(name, image) for name in names]), ALL)
    assert len(data) == 1
    assert "1 member left out: 1 under ../" in data.notes


def test_labels_that_are_numbers_go_by_size(tmp_path: Path) -> None:
    members = [*examples(random_images(12), None), *((f"{i:06d}.cls", f"{i:03d}".encode()) for i in range(12))]
    assert load(write_tar(tmp_path / "x.tar", members), ALL).classes == tuple(map(str, range(12)))


def test_labels_that_are_no_classes_are_not_used(tmp_path: Path) -> None:
    members = [*examples(random_images(30), None), *((f"{i:06d}.cls", f"caption {i}".encode()) for i in range(30))]
    data = load(write_tar(tmp_path / "x.tar", members), ALL)
    assert (data.labels, data.classes) == (None, ())
    assert "labels are not used: 30 different ones of 30 examples are no classes" in data.notes
    write_tar(tmp_path / "set" / "train.tar", [(name, b"a" if name.endswith("cls") else x) for name, x in members])
    write_tar(tmp_path / "set" / "test.tar", members)  # few test examples may have many of the classes
    assert load(tmp_path / "set", DataOptions(split="test")).classes[0] == "a"


def test_json_without_a_label_under_one_key_may_have_it_under_the_other(tmp_path: Path) -> None:
    image = encode(random_images(1)[0])
    path = write_tar(tmp_path / "x.tar", [("a.png", image), ("a.json", b'{"label": null, "class": "x"}')])
    assert load(path, ALL).classes == ("x",)


def test_a_sparse_member_and_links_do_not_shift_what_follows(tmp_path: Path) -> None:
    """A sparse file takes fewer bytes in a tar than it has, and a hard link none, whatever its header says."""
    image, path = encode(random_images(1)[0]), tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        sparse = tarfile.TarInfo("sparse.png")
        sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, len(image)
        header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
        header[483:495] = b"%011o\0" % 10**7  # the size that it has outside of the tar
        header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
        tar.fileobj.write(header + image + bytes(-len(image) % 512))  # type: ignore[union-attr]
        link = tarfile.TarInfo("link.png")
        link.type, link.size, link.linkname = tarfile.LNKTYPE, 10**6, "a.png"
        header = bytearray(link.tobuf(tarfile.GNU_FORMAT))
        header[124:136] = b"%011o\0" % 10**6
        header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
        tar.fileobj.write(header)  # type: ignore[union-attr]
        tar.offset = tar.fileobj.tell()  # type: ignore[union-attr]
        info = tarfile.TarInfo("a.png")
        info.size = len(image)
        tar.addfile(info, io.BytesIO(image))
    data = load(path, ALL)
    assert torch.equal(data.x, pixels(1))
    assert "2 members left out: 2 link or the like" in data.notes


def test_an_index_takes_no_memory_for_each_header(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ((f"{i}.txt", b"x") for i in range(5000)))
    tracemalloc.start()
    with path.open("rb") as file:
        webdataset.make_index(path, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6  # a TarInfo has about 1 kB


def test_splits_by_the_names_of_shards(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "set" / "data", 40, name="train")
    write_shards(folder, 10, classes=2, name="validation")
    write_tar(folder / "more.tar", examples(random_images(1)))
    train, test = (load(tmp_path / "set", DataOptions(split=split)) for split in ("train", "test"))  # type: ignore[arg-type]
    assert (len(train), len(test)) == (40, 10)
    assert train.classes == test.classes == ("0", "1", "2")  # the test part has two of them
    assert "left out, shards of no split: more.tar" in train.notes
    assert train.name == "set"
    assert "1 shard for validation, the test part, since there is no other" in train.notes
    assert (
        "set has a test part of its own: --holdout 0.5 is not used"
        in load(tmp_path / "set", DataOptions(holdout=0.5)).notes
    )


@pytest.mark.parametrize("stream", ["always", "never"])
def test_examples_are_held_out_by_their_names_in_memory_and_not(tmp_path: Path, stream: str) -> None:
    folder, how = write_shards(tmp_path / "x", 120), {"stream": stream}
    train, test = load(folder, DataOptions(**how)), load(folder, DataOptions(split="test", **how))  # type: ignore[arg-type]
    assert 0 < len(test) < 30
    assert len(train) + len(test) == 120
    note = f"{len(test)} of 120 examples are held out for tests, chosen by their names"
    assert f"{note}: --holdout 0 learns from all" in (*train.notes, *load_all(folder, DataOptions(**how)).notes)  # type: ignore[arg-type]
    both = torch.cat([train.x, test.x]).flatten(1)
    assert torch.equal(both.unique(dim=0), pixels(120).flatten(1).unique(dim=0))
    assert torch.equal(test.x, load(folder, DataOptions(split="test", stream="never")).x)
    with pytest.raises(MissingSplitError, match="has no split .test., and none is held out with fewer than 100"):
        load(folder / "data-000.tar", DataOptions(split="test"))


def test_only_what_does_not_fit_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shards(tmp_path / "x")  # 60 images of 192 bytes
    for free, kind in ((2 * 60 * 192, Dataset), (2 * 60 * 192 - 1, StreamedDataset)):
        monkeypatch.setattr(shards, "available_memory", lambda free=free: free)
        assert isinstance(load_all(folder, ALL), kind)
    note = load_all(folder, ALL).notes[-1]
    assert note.startswith("60 examples of 6 shards are streamed, since they take 0.011 MiB of memory, more than 50%")
    assert isinstance(load_all(folder, DataOptions(holdout=0, size="4")), Dataset)  # after decoding and resizing
    assert isinstance(load_all(folder, DataOptions(holdout=0, stream="never")), Dataset)


def test_a_streamed_set_has_a_sample_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shards(tmp_path / "x")
    whole = streamed(folder)
    assert torch.equal(whole.in_memory.x, pixels(60))
    assert whole.in_memory.fingerprint() == load(folder, ALL).fingerprint()
    monkeypatch.setattr(shards, "SAMPLE_EXAMPLES", 7)
    data = streamed(folder)
    assert (len(data), len(data.in_memory), data.shape, data.classes) == (60, 7, (3, 8, 8), ("0", "1", "2"))
    assert data.notes[-1].endswith(
        "are streamed, as asked for; what needs a look at all, e.g. to measure samples, has a sample of 7 in memory"
    )
    sample = load(folder, STREAMED)
    assert sample.notes[-1] == "a sample of the 60 examples of x, which are streamed"
    assert sample.labels is not None
    for x, label in zip(sample.x, sample.labels, strict=True):
        (i,) = (pixels(60) == x).flatten(1).all(1).nonzero()[:, 0].tolist()
        assert i % 3 == label
    monkeypatch.setattr(shards, "SAMPLE_BYTES", 3 * 192)
    assert len(streamed(folder).in_memory) == 3


def test_classes_and_sizes_of_a_streamed_set(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "x")
    options = DataOptions(holdout=0, classes=("2", "0"), size="4x6", channels=1)
    data, same = (
        streamed(folder, DataOptions(holdout=0, classes=("2", "0"), size="4x6", channels=1, stream="always")),
        load(folder, options),
    )
    assert (len(data), data.classes, data.shape) == (40, ("2", "0"), (1, 4, 6))
    assert data.in_memory.fingerprint() == same.fingerprint()
    for i in range(40):
        image = data.read_image(int(data.index[i]))
        assert image is not None
        assert torch.equal(image, same.x[i])


def test_the_fingerprint_tells_changed_shards(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "x")
    first = streamed(folder).fingerprint()
    assert streamed(folder).fingerprint() == first
    write_tar(folder / "data-003.tar", examples(random_images(10), 3, 31))  # other names and labels, the same size
    assert streamed(folder).fingerprint() != first


def test_an_index_is_kept_and_made_anew_where_the_shard_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = write_shards(tmp_path / "x"), []
    make = webdataset.make_index
    monkeypatch.setattr(webdataset, "make_index", lambda path, file: names.append(path.name) or make(path, file))
    counts = list[tuple[int, int]]()
    first = load_all(folder, STREAMED, progress=lambda done, total: counts.append((done, total)))
    assert counts[:6] == [(n, 60) for n in range(10, 70, 10)]
    assert len(names) == 6
    assert streamed(folder).fingerprint() == first.fingerprint()
    assert len(names) == 6
    write_tar(folder / "data-002.tar", examples(random_images(4), 3, 20))
    assert len(streamed(folder)) == 54
    assert names[6:] == ["data-002.tar"]
    for damage in (lambda content: b"x", lambda content: content[:-100], lambda content: content[:-400] + bytes(400)):
        for file in (tmp_path / "cache" / "shards").iterdir():
            file.write_bytes(damage(file.read_bytes()))
        assert len(streamed(folder)) == 54
    monkeypatch.setenv("GANVAS_CACHE", "/proc/nowhere")
    assert len(streamed(folder)) == 54


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    image = encode(random_images(1)[0])
    whole = write_tar(tmp_path / "good.tar", examples(random_images(3), None))
    block = 512 + -(-len(image) // 512) * 512
    for name, size, words in (
        ("middle", block + 512 + 20, r"middle.tar is cut off in the middle of 000001.png: copy it again"),
        ("header", 2 * block + 100, r"header.tar is cut off after 000001.png"),
        ("end", 3 * block, r"end.tar is cut off after 000002.png"),
        ("empty", 0, r"empty.tar is damaged or no plain tar, after its beginning: empty file"),
    ):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(UserError, match=words):
            load(path)
    raw = bytearray(whole.read_bytes())
    raw[block : block + 100] = b"x" * 100  # the second header
    (tmp_path / "bad.tar").write_bytes(raw)
    with pytest.raises(UserError, match=r"bad.tar is damaged after 000000.png, or holds a second tar"):
        load(tmp_path / "bad.tar")
    (tmp_path / "gzip.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(UserError, match=r"gzip.tar is damaged or no plain tar"):
        load(tmp_path / "gzip.tar")


def test_what_members_lack_is_said_with_their_names(tmp_path: Path) -> None:
    image, path = encode(random_images(1)[0]), tmp_path / "x.tar"
    for members, words in (
        ([("a.png", image), ("a.cls", b"1"), ("b.png", image)], r"x.tar, b.png has no label, though others have"),
        ([("a.png", image), ("a.jpg", image)], r"x.tar, a.jpg is the second image of that name"),
        ([("a.png", image), ("a.json", b"{")], r"x.tar, a.json is no label: Expecting"),
        ([("a.png", image), ("a.json", json.dumps({"label": {"x": 1}}).encode())], r"a.json is no label: .* no single"),
        (
            [("a.npy", image)],
            r"x.tar holds no images NAME.png, .*: 1 .npy; give arrays as one file",
        ),
        ([("a.png", b"no image")], r"none of 1 images can be read; the first, x.tar, a.png: cannot identify"),
    ):
        write_tar(path, members)
        with pytest.raises(UserError, match=words):
            load(path, ALL)
    write_tar(path, [("a.png", image), ("b.png", encode(random_images(1, 6)[0]))])
    for options in (ALL, STREAMED):
        with pytest.raises(MixedSizesError, match=r"x.tar holds images of 2 sizes .*ask for one size"):
            load(path, options)


def test_damaged_images_are_counted_as_in_folders(tmp_path: Path) -> None:
    members = dict(examples(random_images(6), 2))
    members["000002.png"] = members["000002.png"][:40]
    data = load(write_tar(tmp_path / "x.tar", members.items()), ALL)
    assert len(data) == 5
    assert data.notes[0].startswith("1 file skipped (x.tar, 000002.png: ")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1, 0, 1]


def test_damaged_images_at_the_beginning_do_not_hide_the_others(tmp_path: Path) -> None:
    members = [(f"{i:02d}.png", b"damaged" if i < 20 else encode(x)) for i, x in enumerate(random_images(60))]
    assert len(load(write_tar(tmp_path / "x.tar", members), ALL)) == 40


def test_sources_that_name_no_shards(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "x", 30)
    (folder / "data-001.tar").unlink()
    with pytest.raises(UserError, match=r"1 shard missing, data-001.tar: bring them back"):
        load(f"{folder}/data-{{000..002}}.tar")
    with pytest.raises(UserError, match=r"no-\*.tar matches no shards: give .tar or .parquet files"):
        load(f"{folder}/no-*.tar")
    with pytest.raises(UserError, match="names more than 1,000,000 shards: give a folder"):
        load(f"{folder}/data-{{0..99999999999}}.tar")
    with pytest.raises(UserError, match="no data '.*nowhere.tar': neither a path"):
        load(folder / "nowhere.tar")
    for odd in ("a\0b*.tar", "a\0b", "x" * 300 + ".tar", "x" * 300 + "*"):
        with pytest.raises(UserError, match=r"no data|cannot be read|matches no shards"):
            load(odd)
    (folder / "y.parquet").write_text("x")
    with pytest.raises(UserError, match=r"holds .parquet and .tar files: give one kind"):
        load(folder)


def test_what_cannot_be_streamed(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "x")
    for options, words in (
        ({"range": "auto"}, "is streamed, so nobody knows its lowest and highest number: say range=LOW,HIGH"),
        ({"pages": "all"}, "is streamed, an example a member: leave out pages=all"),
    ):
        with pytest.raises(UserError, match=words):
            load(folder, DataOptions(stream="always", **options))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="translator has both of its domains in memory"):
        load_all((folder, folder), STREAMED)
    assert len(load_all((folder, folder), ALL)) == 60
    assert len(load("ring", DataOptions(stream="never")))  # it is in memory, as asked for
    for source in ("ring", np.zeros((4, 8, 8), np.uint8)):
        with pytest.raises(UserError, match="stream=always is for shards, Parquet files and tables in files"):
            load(source, STREAMED)
