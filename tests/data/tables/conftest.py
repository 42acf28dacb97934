"""Tests of tables are left out where pandas or pyarrow is not installed: ganvas[tables]."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pandas") and find_spec("pyarrow") else ["test_*.py"]
