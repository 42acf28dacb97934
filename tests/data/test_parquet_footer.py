"""What the end of a Parquet file says, beside pyarrow's reading of it, and damaged ones."""

from pathlib import Path

import numpy as np
import pytest

from ganvas.data import load, parquet
from ganvas.data.parquet_footer import read_row_groups
from ganvas.errors import UserError
from tests.support.shards import encode, random_images, write_parquet

pytest.importorskip("pyarrow")


def test_statistics_of_another_type_in_a_row_group(tmp_path: Path) -> None:
    """Arrow would end the process as the column's metadata are asked for: its levels are others than the schema's."""
    write_parquet(tmp_path / "x.parquet", {"image": [{"bytes": encode(x), "path": "x"} for x in random_images(2)]})
    content = (tmp_path / "x.parquet").read_bytes()
    old, new = b"\x15\x0c\x25\x02\x18\x05bytes", b"\x15\x0c\x25\x00\x18\x05bytes"  # then in each row
    assert content.count(old) == 1
    (tmp_path / "x.parquet").write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match=r"x.parquet, row group 0, is damaged or no Parquet file: Definition level"):
        load(tmp_path / "x.parquet")


@pytest.mark.parametrize("unsigned", [False, True])
def test_metadata_are_read_as_arrow_does(unsigned: bool, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {f"c{i}": np.arange(i, i + 40, dtype=np.uint64 if unsigned else np.int64) for i in range(17)}
    columns["c0"][5] = 2**64 - 9 if unsigned else -(2**62)
    table = pa.table(columns | {"pairs": [[i, i + 0.5] for i in range(40)], "text": [f"{i} \u00fc" for i in range(40)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=9)
    groups, metadata = read_row_groups(tmp_path / "x.parquet"), pq.read_metadata(tmp_path / "x.parquet")
    assert len(groups) == metadata.num_row_groups == 5
    for i, group in enumerate(groups):
        known = metadata.row_group(i)
        assert (group.rows, group.n_bytes) == (known.num_rows, known.total_byte_size)
        chunks = [known.column(j) for j in range(known.num_columns)]
        facts = [(c.path_in_schema, c.physical_type, c.num_values, c.total_uncompressed_size) for c in chunks]
        assert [chunk[:4] for chunk in group.chunks] == facts
    largest = (2**64 - 9 if unsigned else 2**62, "the column c0")
    assert parquet.largest_integer(groups, table.column_names, metadata.schema) == largest


def test_damaged_metadata_are_a_sentence(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", {"x": [1.0, 2.0]})
    content = (tmp_path / "x.parquet").read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - size
    for metadata in (b"", b"\0", b"\x15" * 40, b"\x1c" * 5000, b"\x19\xfc" + b"\xff" * 9 + b"\1", bytes(size)):
        (tmp_path / "x.parquet").write_bytes(content[:start] + metadata + len(metadata).to_bytes(4, "little") + b"PAR1")
        with pytest.raises(ValueError, match="its metadata are damaged"):
            read_row_groups(tmp_path / "x.parquet")
    for damaged in (content[:-1], content[-6:], content[:-8] + b"\xff\xff\xff\xffPAR1"):
        (tmp_path / "x.parquet").write_bytes(damaged)
        with pytest.raises((ValueError, OSError)):
            read_row_groups(tmp_path / "x.parquet")
