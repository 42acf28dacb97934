"""Images a second of one rank and of two on the same machine, and what averaging their gradients takes.

    python3 dev.py run python benchmarks/ranks.py [--rounds 5] [--steps 10]

One rank with one thread and with two is compared with two ranks of one thread each, joined by gloo on the loopback: on
a machine with two cores.  Weak scaling keeps the batch of a rank, strong scaling that of both together.  All are
measured in turns.  The time of the all-reduce has in it what a rank waits for the other.  The floor is that of one
process with as many threads, for the batch of all ranks: a row has its share of the step.
"""

import statistics

import ganvas  # first: it sets how torch's threads wait

import torch

from _ranks import Job, Round, Trainer, TwoRanks
from _support import floor, parser, print_table

JOBS = {
    "vae 784-400-20": Job(ganvas.VAE(net="mlp", width=400, latent=20), 1024, 28, 128),
    "dcgan 32 px, width 32": Job(ganvas.DCGAN(width=32), 256, 32, 32),
}


def medians(rounds: list[Round]) -> Round:
    """Each number's median; the first round warms up and does not count."""
    return Round(*map(statistics.median, zip(*rounds[1:], strict=True)))


def main() -> None:
    words = parser(__doc__, rounds=5, steps=10).parse_args()
    jobs = {name: Job(*job) for name, job in JOBS.items()}
    one, two = Trainer(), TwoRanks()
    rounds: dict[tuple[str, str], list[Round]] = {}
    for _ in range(words.rounds + 1):
        for name, job in jobs.items():
            for threads in (1, 2):
                torch.set_num_threads(threads)
                rounds.setdefault((name, f"1 rank, {threads}"), []).append(one.run(job, words.steps))
            half = job._replace(batch=job.batch // 2)
            rounds.setdefault((name, "weak"), []).append(two.run(job, words.steps))
            rounds.setdefault((name, "strong"), []).append(two.run(half, words.steps))
    two.close()
    rows = []
    for name, job in jobs.items():
        alone = medians(rounds[name, "1 rank, 1"])
        for title, batch, n in (("1 rank, 1", job.batch, 1), ("1 rank, 2", job.batch, 1), ("weak", job.batch, 2),
                                ("strong", job.batch // 2, 2)):  # fmt: skip
            result, threads = medians(rounds[name, title]), 2 if title != "1 rank, 1" else 1
            rate, own = n * batch / result.step, job.batch / alone.step
            label = title if n == 1 else f"2 ranks, {title}"
            torch.set_num_threads(threads)
            share = floor(job.model, job.data, n * batch) / result.step
            cells = (f"{n} x {batch}", f"{rate:,.0f}", f"{rate / own / threads:.0%}", f"{result.step * 1e3:.2f}")
            sent = (f"{result.all_reduce * 1e3:.2f}", f"{result.bytes / 1e6:.2f}") if n == 2 else ("", "")
            rows.append((f"{name}: {label}", *cells, f"{share:.0%}", *sent))
    heads = ("batch", "images/s", "efficiency", "step, ms", "floor", "all-reduce, ms", "MB a step")
    print_table("ranks and threads", heads, rows)


if __name__ == "__main__":
    main()
