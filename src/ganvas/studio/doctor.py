"""The doctor's findings on a run, and since when they hold."""

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..diagnostics import examine
from ..errors import UserError
from ..inference.schema import parse_model, parse_train_config
from ..io.run_folder import RunFolder
from ..training.commands import diagnose
from ..training.run_records import end_step, read_config, read_log
from .runs import own_file, stamp

KEPT_SECONDS = 10
MAX_LOOKS = 40
"""lines at most up to which a log is examined to tell since when something is wrong"""


def examine_run(folder: Path) -> dict[str, Any]:
    """What is wrong with a run's training now, and what was since when; UserError where its files do not say.

    Pages of a run that is being trained share what was found within ten seconds.
    """
    version = stamp(folder)
    return examine_once(folder, int(time.monotonic() / KEPT_SECONDS) if version[-1] else version)


@lru_cache(16)
def examine_once(folder: Path, version: Any) -> dict[str, Any]:
    """The same of files that are this version."""
    config, file = read_config(own_file(RunFolder(folder).config).parent), RunFolder(folder).log
    log = read_log(own_file(file).parent) if os.path.lexists(file) else []
    if not log:
        raise UserError("too early to tell: the log has no lines yet")
    diagnoses, verdict, figures = diagnose(folder, config, log)
    about = {"step": log[-1]["step"], "steps": end_step(config), "diagnoses": diagnoses, "verdict": verdict}
    return about | {"figures": figures, "history": find_spans(folder, config, log)}


def find_spans(folder: Path, config: dict[str, Any], log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was wrong since when: name, alarm, evidence as it was last, and spans of steps, [first, last]."""
    model, train_config, n = parse_model(config, RunFolder(folder).config), parse_train_config(config), len(log)
    findings, before = dict[str, dict[str, Any]](), 0
    for end in sorted({round((i + 1) * n / MAX_LOOKS) for i in range(MAX_LOOKS)} - {0}):
        step = log[end - 1]["step"]
        for d in examine(model, end_step(config), log[:end], train_config):
            finding = findings.setdefault(d.name, {"name": d.name, "spans": []})
            finding |= {"alarm": d.is_alarm, "evidence": d.evidence}
            spans = finding["spans"]
            if spans and spans[-1][1] in (before, step):
                spans[-1][1] = step
            else:
                spans.append([step, step])
        before = step
    return list(findings.values())
