"""Boosting with few trees, which tell as much of small tables in a fraction of the time."""

from collections.abc import Iterator

import pytest

from ganvas.evaluation.tables import estimators


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "TREES", 20)
        yield
