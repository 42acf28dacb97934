"""Is a synthetic table any good, and may it be shared?  Numbers beside their floors, and a verdict in words."""

from .measure import TableEvaluation, evaluate_table
from .report import as_json, report_lines
from .verdict import Verdict, judge

__all__ = ["TableEvaluation", "Verdict", "as_json", "evaluate_table", "judge", "report_lines"]
