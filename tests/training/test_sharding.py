"""What one process can tell of sharded networks: refusals, and files of shards that a kill leaves whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.errors import UserError
from ganvas.io.safetensors import read_header
from ganvas.training import checkpoint
from ganvas.training.loop import initialize_state

RING = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "fsdp shards networks over several devices: give --devices"),
        ({"compile": "on"}, "which compile=on does not know"),
        ({"graph": "on"}, "which a CUDA graph cannot"),
    ],
)
def test_what_does_not_go_with_fsdp_is_refused(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options:
        monkeypatch.setattr("ganvas.training.run.world_size", lambda: 2)
    with pytest.raises(UserError, match=message):
        ganvas.train(ganvas.VAE(width=4), RING, steps=1, batch_size=4, fsdp=True, quiet=True, **options)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ganvas.VAE(width=4, latent=2)
    states = [initialize_state(model, (2,), seed, torch.device("cpu")) for seed in (0, 1)]
    path = tmp_path / "state.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "is_sharded", lambda tensor: True)  # whole tensors are shards of one rank
        checkpoint.save(states[0], path, {})
        patch.setattr(checkpoint, "write_safetensors", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(states[1], path, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shards-0000000", "shards-0000000-2", "state.ckpt"]
    copies = [initialize_state(model, (2,), 2, torch.device("cpu")) for _ in range(2)]
    checkpoint.restore(copies[0], path, model)
    checkpoint.restore_networks(copies[1], path)
    for copy in copies:
        for name, tensor in states[0].nets.state_dict().items():
            assert copy.nets.state_dict()[name].equal(tensor)
    checkpoint.save(states[1], path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["state.ckpt"]
    assert "shards" not in read_header(path)
