"""What the files of a run say of themselves, checked as they are read."""

import json
from pathlib import Path
from typing import Any

from .errors import UserError
from .model import plain
from .models import model_from


def check_config(file: Path, header: dict[str, Any]) -> None:
    """UserError where a run folder's weights are those of another model than its config.json says."""
    try:
        config = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
        config["model"], config["fields"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    check_fields(file, header, config)


def check_fields(file: Path, header: dict[str, Any], config: dict[str, Any]) -> None:
    """UserError where a file of a run holds another model than its config.json says, but for what was changed since."""
    name = header.get("model", config["model"])
    if name != config["model"]:
        raise UserError(
            f"{file} holds another model ({name}) than the run's config.json says ({config['model']}): "
            "put the run's own file back, or move this one elsewhere"
        )
    if "fields" not in header:
        return
    there, here = (plain(model_from(name, fields)) for fields in (header["fields"], config["fields"]))
    since = {field for entry in config.get("changed", []) for field in entry}
    for field in there:
        if there[field] != here[field] and field not in since:
            ways = f"`ganvas resume {file.parent} --lr ...` changes it" if field == "lr" else ""
            raise UserError(
                f"{file} holds a {name} with {field}={there[field]}, but config.json says {field}={here[field]}: "
                f"put its own value back into config.json" + (f", or change it so: {ways}" if ways else "")
            )
