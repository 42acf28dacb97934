"""A studio that listens, and run folders for it to show."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ganvas.studio.app import make_app
from ganvas.studio.settings import Settings
from ganvas.web.server import listen


@contextmanager
def serving_studio(runs_dir: Path, token: str = "") -> Iterator[str]:
    """The address of a studio of these runs, without the last slash."""
    import uvicorn

    app = make_app(Settings(runs_dir, token=token))
    with listen("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        app.state.is_ending = lambda: server.should_exit
        thread = threading.Thread(target=server.run, args=([opened],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()


def write_run(folder: Path, n_lines: int = 20, every: int = 10, steps: int = 400, **changes: Any) -> Path:
    """A folder as a run of a VAE leaves it after so many lines of its log; `changes` are to config.json."""
    config = {
        "format": 1, "model": "vae", "fields": {"latent": 3, "width": 4},
        "train_config": {"steps": steps, "batch_size": 8},
        "given": ["latent", "steps"], "chosen": {"width": 4}, "versions": {"ganvas": "0.1.0", "torch": "2.13.0"},
        "created_at": "2026-11-30T10:00:00+00:00",
        "data": {
            "source": "emoji", "name": "emoji", "options": {}, "fingerprint": "0" * 64, "examples": 64,
            "shape": [1, 8, 8], "classes": [],
        },
    } | changes  # fmt: skip
    (folder / "previews").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.jsonl").write_text("".join(json.dumps(log_line(i * every)) + "\n" for i in range(1, n_lines + 1)))
    for step in (0, 100, 200):
        if step <= n_lines * every:
            Image.new("RGB", (40, 12), (step, 90, 160)).save(folder / "previews" / f"{step:07d}.png")
    return folder


def log_line(step: int) -> dict[str, Any]:
    """A line of the log of that run."""
    line = {"step": step, "seconds": step / 50, "reconstruction": 900 / step, "kl": 3 - 2 / step}
    line["latent"] = {"dimensions": 3, "active_units": 0, "kl": 0.01, "gradient": 5.0, "weight_scale": 0.9}
    if step % 100 == 0:
        value = 10 / step
        line["samples"] = {
            "metric": "kid:x@1", "value": value, "error": 0.001, "n": 100, "lowest_distance": value, "best_step": step,
        }  # fmt: skip
    return line
