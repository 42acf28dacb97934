"""Functions that run at the same time: what they return, on which cores, and that a step is the same."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import Barrier, Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganvas import CycleGAN, DiscoGAN
from ganvas.config import TrainConfig
from ganvas.data import DomainPair, make_stream
from ganvas.model import minimize_independent
from ganvas.models._translator import Translator
from ganvas.nn.concurrency import concurrently, worker_pool
from ganvas.training.loop import TrainState, apply_move, initialize_state, train
from tests.support.data import as_pair, image_collection

CPU = torch.device("cpu")
MODELS = (CycleGAN(width=4, blocks=1), DiscoGAN(width=4, feature_matching_weight=0.5))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def domains() -> DomainPair:
    return as_pair(image_collection(shape=(16, 16, 3)))


def train_state(model: Translator, steps: int = 4) -> TrainState:
    pair = domains()
    state = initialize_state(model, pair.shape, 0, CPU)
    list(train(model, pair, TrainConfig(steps=steps, batch_size=2), state))
    return state


def flat(state: TrainState) -> Tensor:
    return torch.cat([p.detach().flatten() for p in state.nets.parameters()])


def where() -> tuple[str, int]:
    return current_thread().name, torch.get_num_threads()


def test_each_has_its_share_of_the_cores() -> None:
    both = Barrier(2)  # or a thread that is done may take the other's work, too

    def there() -> tuple[str, int]:
        both.wait(60)
        return where()

    (first, cores), (second, others) = concurrently(there, there, device=CPU)
    assert first != second
    assert main_thread().name not in (first, second)
    assert (cores, others, torch.get_num_threads()) == (1, 1, 2)
    conv, x = nn.Conv2d(8, 8, 3), torch.randn(4, 8, 12, 12)
    assert [y.shape for y in concurrently(partial(conv, x), partial(conv, x), device=CPU)] == [(4, 8, 10, 10)] * 2
    assert [n for _, n in concurrently(there, there, device=CPU)] == [1, 1]


def test_one_after_the_other_where_there_are_no_cores_for_each() -> None:
    here = main_thread().name
    assert [name for name, _ in concurrently(where, where, device=torch.device("cuda"))] == [here, here]
    assert [name for name, _ in concurrently(where, device=CPU)] == [here]
    assert [name for name, _ in concurrently(where, where, where, device=CPU)] == [here] * 3
    torch.set_num_threads(1)
    assert [name for name, _ in concurrently(where, where, device=CPU)] == [here, here]


def test_results_are_in_order_and_errors_come_through() -> None:
    assert concurrently(lambda: 1, lambda: 2, device=CPU) == [1, 2]
    done = []

    def late() -> None:
        sleep(0.2)
        done.append(True)

    with pytest.raises(ZeroDivisionError):
        concurrently(lambda: 1 // 0, late, device=CPU)
    assert done  # nothing goes on behind the caller's back


def test_a_pool_without_its_threads_is_cleaned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_pool.cache_clear()
    before = set(enumerate_threads())
    monkeypatch.setattr("threading.Thread.start", refuse_second(Thread.start))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        concurrently(where, where, device=CPU)
    monkeypatch.undo()
    assert torch.get_num_threads() == 2
    until = monotonic() + 10
    while not set(enumerate_threads()) <= before and monotonic() < until:
        sleep(0.01)
    assert set(enumerate_threads()) <= before
    assert len(concurrently(where, where, device=CPU)) == 2


def refuse_second(start: Callable[[Thread], None]) -> Callable[[Thread], None]:
    """`Thread.start` of a system that has room for one thread more."""
    started: list[Thread] = []

    def first_only(thread: Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    return first_only


def test_precision_and_gradients_are_the_callers() -> None:
    x = torch.randn(3, 3, requires_grad=True)
    assert all(y.requires_grad for y in concurrently(lambda: x @ x, lambda: x @ x, device=CPU))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        products = concurrently(lambda: x @ x, lambda: x @ x, device=CPU)
    assert all(not y.requires_grad and y.dtype == torch.bfloat16 for y in products)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_run_is_the_same_each_time_and_nearly_that_of_one_core(model: Translator) -> None:
    runs = [train_state(model).nets.state_dict() for _ in range(2)]
    assert all(torch.equal(t, runs[1][name]) for name, t in runs[0].items())
    torch.set_num_threads(1)
    alone = flat(train_state(model, 1))
    torch.set_num_threads(2)
    together, fresh = flat(train_state(model, 1)), flat(initialize_state(model, domains().shape, 0, CPU))
    difference, change = (together - alone).abs(), (together - fresh).abs()
    assert change.median() > 1e-4  # Adam's first step is 2e-4, whatever the gradient
    assert difference.median() < 1e-6


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_both_halves_of_a_move_are_differentiated(model: Translator) -> None:
    """Gradients of the halves add up to those of the terms' sum."""
    pair = domains()
    state = initialize_state(model, pair.shape, 0, CPU)
    pairs: list[tuple[Tensor, Tensor]] = []

    def compare_gradients(step: Any, *args: Any, **nets: Any) -> Iterator[Any]:
        for move in step(*args, **nets):
            weights = [p for net in move.networks for p in net.parameters()]
            expected = torch.autograd.grad(move.loss, weights, retain_graph=True)
            apply_move(move, torch.optim.SGD(weights, lr=0.0))
            assert move.independent_losses is not None
            pairs.extend((p.grad, g) for p, g in zip(weights, expected, strict=True))  # type: ignore[misc]
            yield move

    batches = make_stream(pair, batch=2, seed=0, device=CPU)
    list(compare_gradients(model.step, batches, 0, **dict(state.nets.items())))
    assert any(g.any() for _, g in pairs)
    for gradient, expected in pairs:
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_terms_of_parts_are_added_by_name() -> None:
    net = nn.Linear(1, 1)
    move = minimize_independent((net,), {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, {"a": torch.tensor(4.0)})
    assert {name: term.item() for name, term in move.terms.items()} == {"a": 5, "b": 2}
    assert move.independent_losses is not None
    assert [half.item() for half in move.independent_losses] == [3, 4]
    assert minimize_independent((net,), {"a": torch.tensor(1.0)}).independent_losses is None
