"""What the page on exporting says is run, and its programs compute what Ganvas does."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
BEFORE = """
import numpy as np, torch, ganvas
torch.set_num_threads(1)
x = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
ganvas.train(ganvas.VAE(width=4, latent=5), x, steps=1, batch_size=8, folder="runs/faces", quiet=True)
ganvas.train(ganvas.CGAN(width=4), "x.npz", steps=1, batch_size=8, folder="runs/classes", quiet=True)
ganvas.train(ganvas.CycleGAN(width=4, blocks=1), (x, x[:30]), steps=1, folder="runs/painted", quiet=True)
"""
AFTER = """
run = ganvas.load("runs/classes")
z, y = run.sample_prior(4, torch.Generator().manual_seed(0)), torch.arange(4) % 2
labelled = torch.export.export(Decoder(run).eval(), (z, y), dynamic_shapes=({0: n}, ({0: n},)))
for name, program in (("runs/faces", torch.export.load("decoder.pt2")), ("runs/classes", labelled)):
    run = ganvas.load(name)
    for many in (1, 7):
        z, y = run.sample_prior(many, torch.Generator().manual_seed(1)), torch.arange(many) % 2
        given = (z, y) if run.model.is_conditional else (z,)
        off = 255 * program.module()(*given) - run.decode(z, y).x
        assert off.abs().max() < 0.51, name
run = ganvas.load("runs/painted")
x = torch.rand(5, 3, 16, 16)
off = torch.export.load("translator.pt2").module()(x) - run.translate_batch(x, "B").clamp(0, 1)
assert off.abs().max() < 1e-5
"""


def test_the_page_on_exporting_is_right() -> None:
    """In a process of its own, without the types that tests check at every call."""
    import numpy as np

    random = np.random.default_rng(0)
    np.savez("x.npz", x=random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), y=np.arange(40) % 2)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    Path("page.py").write_text("\n".join([BEFORE, *blocks, AFTER]), encoding="utf-8")
    done = subprocess.run([sys.executable, "page.py"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
