"""The whole evaluation and its verdict: of other real rows, of copies, of shuffled columns, and of tiny tables."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ganvas.data.tables.columns import Column
from ganvas.errors import UserError
from ganvas.evaluation.tables import TableEvaluation, as_json, evaluate_table, judge, report_lines
from ganvas.evaluation.tables.detection import detect
from ganvas.evaluation.tables.usefulness import choose_target, measure_usefulness
from tests.support.tables import MIXED, mixed_rows, shuffle_columns

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("few_trees")
N = 400


@pytest.fixture(scope="module")
def rows(few_trees: None) -> list[np.ndarray]:
    x = mixed_rows(3 * N)
    return [x[:N], x[N : 2 * N], x[2 * N :]]


@pytest.fixture(scope="module")
def healthy(rows: list[np.ndarray]) -> TableEvaluation:
    return evaluate_table(*rows, MIXED, target="tall")


@pytest.fixture(scope="module")
def shuffled(rows: list[np.ndarray]) -> TableEvaluation:
    return evaluate_table(rows[0], rows[1], shuffle_columns(rows[0], 5), MIXED, target="tall")


def test_other_real_rows_are_as_real_rows_are(healthy: TableEvaluation) -> None:
    verdict = judge(healthy)
    assert {column.sentence for column in verdict.columns} == {"as real rows are"}
    assert verdict.sign == "none"
    assert all(verdict.uses.values())
    assert set(verdict.uses) == {"tests", "columns", "relations", "models"}
    assert "though it had only 400 of each" in verdict.rows  # too few to serve in place of real rows
    assert "No sign" in verdict.overall
    assert "no proof" in verdict.overall
    assert "safe" not in "\n".join(report_lines(healthy))


def test_a_shuffle_keeps_columns_and_loses_relations(shuffled: TableEvaluation) -> None:
    verdict = judge(shuffled)
    assert verdict.uses == {"tests": True, "columns": True, "relations": False, "models": False}
    height = verdict.columns[0]
    assert (height.level, height.own_level) == ("poor", "good")
    assert height.sentence.startswith("its relation to tall is lost")
    assert "macro F1" in verdict.use
    assert shuffled.detection is not None
    assert shuffled.detection.auc > 0.7
    assert "plainly" in verdict.rows or "partly" in verdict.rows


def test_copies_are_not_to_be_shared(rows: list[np.ndarray], healthy: TableEvaluation) -> None:
    from ganvas.evaluation.tables.privacy import measure_privacy

    privacy = measure_privacy(rows[0], rows[1], rows[0], MIXED)
    verdict = judge(replace(healthy, privacy=privacy))
    assert verdict.sign == "strong"
    assert verdict.sharing.startswith("Do not share it")
    assert "100% are exact copies of training rows, of held-out rows 0%" in verdict.sharing


def test_json_has_no_numbers_that_json_lacks(shuffled: TableEvaluation) -> None:
    values = json.loads(json.dumps(as_json(shuffled), allow_nan=False))
    assert values["verdict"]["sign"] == "none"
    assert values["quality"]["missing"]["height"] is None
    assert values["quality:floor"]["strong_score"] > values["quality:shuffled"]["strong_score"]
    assert values["privacy"]["membership"]["expected"] == 0.5


def test_lines_show_each_number_beside_its_floor(healthy: TableEvaluation) -> None:
    lines = report_lines(healthy)
    titles = next(line for line in lines if "shuffled" in line)
    assert titles.split() == ["synthetic", "as", "many", "held-out", "shuffled"]
    assert max(map(len, lines[5:])) < 120
    assert any(line.startswith("nearer to training than to held-out rows") for line in lines)


def test_all_is_deterministic(rows: list[np.ndarray]) -> None:
    few = [x[:30, 2:4] for x in rows]
    first, second = (as_json(evaluate_table(*few, MIXED[2:4], seed=3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("n", [1, 2])
def test_one_row_and_one_column(n: int) -> None:
    columns = [Column("a", "real"), Column("id", "identifier")]
    evaluation = evaluate_table(np.zeros((n, 1)), np.zeros((0, 1)), np.ones((n, 1)), columns)
    verdict = judge(evaluation)
    assert verdict.sign == "unknown"
    assert "cannot be said" in verdict.sharing
    assert json.dumps(as_json(evaluation, verdict), allow_nan=False)
    assert report_lines(evaluation)[-1] == "not learnt, and not looked at: id"


def test_columns_of_missing_values_alone() -> None:
    x = np.full((60, 2), np.nan)
    x[:, 1] = np.arange(60) % 2
    columns = [Column("nothing", "real"), Column("b", "boolean", categories=(False, True))]
    evaluation = evaluate_table(x[:20], x[20:40], x[40:], columns)
    assert judge(evaluation).columns[0].sentence == "as real rows are"


def test_nothing_to_measure_is_said() -> None:
    x = mixed_rows(30)
    with pytest.raises(UserError, match="0 synthetic rows"):
        evaluate_table(x, x, x[:0], MIXED)
    with pytest.raises(UserError, match="no column 'tal' to predict. Did you mean \"tall\""):
        evaluate_table(x, x, x, MIXED, target="tal")


def test_the_target_that_is_chosen() -> None:
    assert choose_target(MIXED, None) == (5, "the last column of 2 to 10 categories")
    assert choose_target(MIXED[:2], None) == (1, "the last column")
    assert choose_target(MIXED, "colour") == (2, "")


def test_regression_is_by_r2(rows: list[np.ndarray]) -> None:
    sources = {"real": rows[0], "synthetic": rows[2], "shuffled": shuffle_columns(rows[0])}
    useful = measure_usefulness(sources, rows[1], MIXED, "height")
    assert useful is not None
    assert useful.number == "r2"
    assert useful.score("real") == pytest.approx(useful.score("synthetic"), abs=0.1)
    assert useful.score("real") > 0.6
    assert useful.score("shuffled") < 0.1


def test_a_class_that_synthetic_rows_lack() -> None:
    """Models that have learnt one class alone say it always; the rarest class counts."""
    x = mixed_rows(300)
    x[:, 5] = x[:, 0] > 1.2
    one_class = x.copy()
    one_class[:, 5] = 0
    useful = measure_usefulness({"real": x[:200], "synthetic": one_class}, x[200:], MIXED, "member")
    assert useful is not None
    assert useful.positive == "True"
    assert useful.scores["boosting"]["synthetic"]["f1"] == 0
    assert useful.scores["linear"]["synthetic"]["auc"] == 0.5
    assert useful.scores["boosting"]["real"]["f1"] > 0.8


def test_detection_names_the_column() -> None:
    real, other = mixed_rows(400), mixed_rows(400, seed=1)
    other[:, 4] += 60
    found = detect(real, other, MIXED)
    assert found is not None
    assert found.auc > 0.7
    assert int(np.argmax(found.importance)) == 4
    assert detect(real[:10], other, MIXED) is None


def test_more_categories_than_boosting_takes() -> None:
    random = np.random.default_rng(0)
    columns = (Column("zip", "category", categories=tuple(map(str, range(400)))), Column("a", "real"))
    x, y = (np.stack([random.integers(0, 400, 600), random.normal(size=600)], 1) for _ in range(2))
    found = detect(x, y, columns, with_importance=False)
    assert found is not None
    assert found.auc == pytest.approx(0.5, abs=0.1)
