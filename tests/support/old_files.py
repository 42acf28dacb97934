"""Files of runs of before: what a run writes today, by the names that older versions had."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from ganvas import renamed
from ganvas.io.safetensors import CHECKSUMS

OLD_OPTIONS = {new: old for old, news in renamed.NEW_NAMES.items() for new in news}


def old_options(values: dict[str, Any]) -> dict[str, Any]:
    """Settings by the names that they had before."""
    return {OLD_OPTIONS.get(name, name): value for name, value in values.items()}


def old_keys(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """The content of a file of this kind by the keys that it had before: `with_new_keys` backwards."""
    paths = renamed.NEW_KEYS[kind]

    def age(values: dict[str, Any], place: str) -> dict[str, Any]:
        """`place` is the path of `values` in old keys."""
        known = {new: old for old, new in paths.items() if old.rstrip(".").rpartition(".")[0] == place.rstrip(".")}
        result = {}
        for key, value in values.items():
            old = known.get(key, place + key)
            name = old.rstrip(".")
            result[name.rpartition(".")[2]] = age(value, f"{name}.") if isinstance(value, dict) else value
        return result

    return age(values, "")


def age_run(run: Path, **fields: Any) -> None:
    """Make a run one of before: with old names and keys, and with `fields` that its model no longer has."""
    config = json.loads((run / "config.json").read_text())
    config["fields"] = old_options(config["fields"]) | fields
    config["train_config"] = old_options(config["train_config"])
    (run / "config.json").write_text(json.dumps(old_keys(config, "config")))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (run / "log.jsonl").write_text("".join(json.dumps(old_keys(line, "log")) + "\n" for line in lines))
    for path in [*run.glob("*.safetensors"), run / "state.ckpt"]:
        with safe_open(path, "pt") as file:
            header = {k: v for k, v in json.loads(file.metadata()["ganvas"]).items() if k not in CHECKSUMS}
            tensors = {old_tensor_name(name): file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        header = old_keys(header, "weights" if path.suffix == ".safetensors" else "checkpoint")
        header["fields"] = old_options(header["fields"]) | fields
        save_file(tensors, path, {"ganvas": json.dumps(header)})


def forget_data_options(run: Path, *names: str) -> None:
    """Make a run one that was begun before data had these options."""
    config = json.loads((run / "config.json").read_text())
    for name in names:
        del config["data"]["options"][name]
    (run / "config.json").write_text(json.dumps(config))


def old_tensor_name(name: str) -> str:
    """What a tensor was called before."""
    name = name.replace("ema/", "average/") if name.startswith("ema/") else name
    return name.replace("/std", "/deviation") if name.startswith("scaling/") else name
