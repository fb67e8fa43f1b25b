import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server.batching import Batcher, Call
from darkroom.serving.server.saved_model import Function, SavedModel
from darkroom.serving.server.server_config import Batching
from tests import serving_models
from tests.conftest import encoded

PATIENCE = 60  # seconds until what hangs fails its test
LONG = 3_600_000_000  # microseconds, of a batch that waits until it is full
MANY_PIXELS = 10**9


class Double:
    """y = 2 x, and notes the sizes of its batches; may be held up."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.shapes: list[list[tuple[int, ...]]] = []
        self.begun = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(len(arrays[0]))
        self.shapes.append([array.shape for array in arrays])
        self.begun.set()
        assert self.may_go.wait(PATIENCE)
        return [array * 2 for array in arrays]


def parameters(**changes: Any) -> Batching:
    usual = Batching(
        max_batch_size=8, batch_timeout_micros=0, max_enqueued_batches=100, num_batch_threads=1
    )
    return usual._replace(**changes)


def run(
    work: Callable[[Batcher], Awaitable[Any]], max_pixels: int = MANY_PIXELS, **changes: Any
) -> Any:
    """What comes of some work with a batcher in an event loop of its own."""

    async def main() -> Any:
        batcher = Batcher(parameters(**changes), max_pixels)
        try:
            return await asyncio.wait_for(work(batcher), PATIENCE)
        finally:
            await asyncio.to_thread(batcher.close)

    return asyncio.run(main())


def together(calls: Sequence[Call], **changes: Any) -> list[Any]:
    """The answers, or errors, of calls that come at the same time."""

    async def work(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*map(batcher.run, calls), return_exceptions=True)

    answers: list[Any] = run(work, **changes)
    return answers


def rows(size: int, start: float = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(start, start + size, dtype=dtype)


# What runs together.


def test_calls_that_come_together_run_together() -> None:
    double = Double()
    answers = together([Call(double, [rows(n, 10 * n)]) for n in (1, 3, 2)])
    assert double.sizes == [6]
    assert [answer[0].tolist() for answer in answers] == [[20], [60, 62, 64], [40, 42]]


def test_one_call_runs_at_once() -> None:
    double = Double()
    [[found]] = together([Call(double, [rows(3)])])
    assert found.tolist() == [0, 2, 4]
    assert double.sizes == [3]


def test_a_batch_has_no_more_than_its_size() -> None:
    double = Double()
    answers = together([Call(double, [rows(3, n)]) for n in range(5)])
    assert double.sizes == [6, 6, 3]
    assert [answer[0][0] for answer in answers] == [0, 2, 4, 6, 8]


def test_without_batching_each_call_runs_alone() -> None:
    double = Double()
    answers = together([Call(double, [rows(n)]) for n in (1, 20, 2)], max_batch_size=1)
    assert sorted(double.sizes) == [1, 2, 20]
    assert [len(answer[0]) for answer in answers] == [1, 20, 2]


def test_while_the_threads_work_the_next_batch_fills() -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        double.may_go.clear()
        first = asyncio.create_task(batcher.run(Call(double, [rows(1)])))
        assert await asyncio.to_thread(double.begun.wait, PATIENCE)
        others = [asyncio.create_task(batcher.run(Call(double, [rows(1)]))) for _ in range(5)]
        await asyncio.sleep(0.01)
        double.may_go.set()
        await asyncio.gather(first, *others)

    run(work)
    assert double.sizes == [1, 5]


def test_a_batch_waits_until_it_is_full() -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.run(Call(double, [rows(3)])))
        await asyncio.sleep(0.05)
        assert not first.done()
        assert double.sizes == []
        await asyncio.gather(first, batcher.run(Call(double, [rows(5)])))

    run(work, batch_timeout_micros=LONG)
    assert double.sizes == [8]


def test_a_batch_that_does_not_fill_runs_when_its_time_is_up() -> None:
    double = Double()
    answers = together([Call(double, [rows(1)]) for _ in range(3)], batch_timeout_micros=1000)
    assert len(answers) == 3
    assert double.sizes == [3]


def test_what_is_left_of_a_full_batch_waits_for_its_own_time() -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        calls = [asyncio.create_task(batcher.run(Call(double, [rows(5)]))) for _ in range(2)]
        await calls[0]
        await asyncio.sleep(0.05)
        assert double.sizes == [5]
        await asyncio.gather(calls[1], batcher.run(Call(double, [rows(3)])))

    run(work, batch_timeout_micros=LONG)
    assert double.sizes == [5, 8]


def test_functions_shapes_and_types_do_not_mix() -> None:
    one, other = Double(), Double()
    arrays = [
        rows(2),
        rows(2, dtype=np.float64),
        rows(2)[:, None],
        np.zeros((2, 2), np.float32),
        rows(2),
    ]
    answers = together([*(Call(one, [array]) for array in arrays), Call(other, [rows(2)])])
    assert sorted(one.sizes) == [2, 2, 2, 4]
    assert other.sizes == [2]
    for array, [found] in zip(arrays, answers, strict=False):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array * 2)


def test_one_function_can_not_keep_the_threads_to_itself() -> None:
    greedy, other = Double(), Double()

    async def work(batcher: Batcher) -> None:
        greedy.may_go.clear()
        first = asyncio.create_task(batcher.run(Call(greedy, [rows(8)])))
        assert await asyncio.to_thread(greedy.begun.wait, PATIENCE)
        many = [asyncio.create_task(batcher.run(Call(greedy, [rows(8)]))) for _ in range(50)]
        await asyncio.sleep(0)
        late = asyncio.create_task(batcher.run(Call(other, [rows(1)])))
        await asyncio.sleep(0.01)
        greedy.may_go.set()
        await late
        assert sum(call.done() for call in many) < 5
        await asyncio.gather(first, *many)

    run(work)


def test_images_in_a_batch_have_a_bounded_number_of_pixels() -> None:
    double = Double()
    answers = together(
        [Call(double, [rows(1)], pixels) for pixels in (40, 50, 20, 500, 10)], max_pixels=100
    )
    assert double.sizes == [2, 1, 1, 1]
    assert len(answers) == 5


# What doesn't fit.


@pytest.mark.parametrize("size", [9, 16, 31])
def test_a_call_larger_than_a_batch_is_cut_and_put_together_again(size: int) -> None:
    double = Double()
    small = Call(double, [rows(2, 100), rows(2, 100)])
    answers = together([Call(double, [rows(size), rows(size, 7)]), small])
    assert max(double.sizes) <= 8
    assert answers[0][0].tolist() == (2 * rows(size)).tolist()
    assert answers[0][1].tolist() == (2 * rows(size, 7)).tolist()
    assert answers[1][0].tolist() == [200, 202]


def test_a_large_call_fails_as_a_whole() -> None:
    [error] = together([Call(_no_negatives, [np.array([1.0] * 20 + [-1])])])
    assert isinstance(error, ServingError)


def test_batches_are_padded_to_allowed_sizes() -> None:
    double = Double()
    answers = []
    for sizes in ((1,), (1, 2), (2,), (3, 2)):
        calls = [Call(double, [rows(n, 5)]) for n in sizes]
        answers += together(calls, allowed_batch_sizes=[2, 4, 8])
    assert double.sizes == [2, 4, 2, 8]
    assert [answer[0].tolist() for answer in answers] == [
        (2 * rows(n, 5)).tolist() for n in (1, 1, 2, 2, 3, 2)
    ]


@pytest.mark.parametrize("arrays", [[np.float32(3)], [rows(0)], [rows(2), rows(3)], []])
def test_what_is_no_batch_runs_as_it_is(arrays: list[np.ndarray]) -> None:
    seen = []

    def note(given: Sequence[np.ndarray]) -> list[np.ndarray]:
        seen.append(list(given))
        return [array * 2 for array in given]

    calls = [Call(note, arrays), Call(note, arrays)]
    for allowed in ([], [4, 8]):
        for answer in together(calls, allowed_batch_sizes=allowed):
            assert [a.tolist() for a in answer] == [(a * 2).tolist() for a in arrays]
    assert [[a.shape for a in given] for given in seen] == [[np.shape(a) for a in arrays]] * 4


def test_an_empty_call_does_not_end_batching_for_others() -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        await batcher.run(Call(double, [rows(0)]))
        await asyncio.gather(*(batcher.run(Call(double, [rows(1)])) for _ in range(4)))

    run(work, allowed_batch_sizes=[4, 8])
    assert double.sizes == [0, 4]


@pytest.mark.parametrize("allowed", [[], [4, 8]])
def test_outputs_without_a_batch_dimension_are_computed_alone(allowed: list[int]) -> None:
    sizes = []

    def total(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        sizes.append(len(arrays[0]))
        return [arrays[0].sum(), arrays[0] * 2]

    async def work(batcher: Batcher) -> Any:
        first = await asyncio.gather(*(batcher.run(Call(total, [rows(n)])) for n in (2, 3)))
        return first + await asyncio.gather(*(batcher.run(Call(total, [rows(n)])) for n in (2, 20)))

    found = run(work, allowed_batch_sizes=allowed)
    assert [answer[0] for answer in found] == [1, 3, 1, 190]
    assert sorted(sizes[1:]) == [2, 2, 3, 20]  # the first shows that it can't be together


@pytest.mark.parametrize("shape", [(), (5,)])
def test_a_large_call_without_a_batch_in_its_output_is_not_cut(shape: tuple[int, ...]) -> None:
    def total(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.full(shape, arrays[0].sum())]

    [[found]] = together([Call(total, [rows(20)])])
    assert found.tolist() == np.full(shape, 190).tolist()


def test_shorter_inputs_are_padded() -> None:
    double = Double()
    texts = [np.array(words, object)[None] for words in ([b"a"], [b"b", b"c"])]
    arrays = [np.ones((1, 2, 1)), np.ones((2, 1, 3))]

    def same(given: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(given)

    answers = together([Call(double, [array]) for array in arrays], pad_variable_length_inputs=True)
    assert double.shapes == [[(3, 2, 3)]]
    assert answers[0][0].tolist() == [[[2, 0, 0], [2, 0, 0]]]
    assert answers[1][0].tolist() == [[[2, 2, 2], [0, 0, 0]]] * 2
    answers = together([Call(same, [text]) for text in texts], pad_variable_length_inputs=True)
    assert [answer[0].tolist() for answer in answers] == [[[b"a", b""]], [[b"b", b"c"]]]


def test_padding_mixes_no_ranks_and_leaves_flat_inputs() -> None:
    double = Double()
    arrays = [rows(2), rows(2)[:, None], rows(1)]
    answers = together([Call(double, [array]) for array in arrays], pad_variable_length_inputs=True)
    assert sorted(double.sizes) == [2, 3]
    assert [answer[0].tolist() for answer in answers] == [[0, 2], [[0], [2]], [0]]


# What goes wrong.


def _no_negatives(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    if (arrays[0] < 0).any():
        raise ValueError("no negative numbers")
    return [np.sqrt(arrays[0])]


@pytest.mark.parametrize("allowed", [[], [4, 8]])
@pytest.mark.parametrize("guilty", [{0}, {5}, {2, 3}, set(range(8))])
def test_a_failing_call_fails_alone(guilty: set[int], allowed: list[int]) -> None:
    calls = [Call(_no_negatives, [np.array([-1.0 if n in guilty else n * n])]) for n in range(8)]
    for number, answer in enumerate(together(calls, allowed_batch_sizes=allowed)):
        if number in guilty:
            assert isinstance(answer, ServingError)
            assert (answer.code, answer.message) == (Code.INVALID_ARGUMENT, "no negative numbers")
        else:
            assert answer[0].tolist() == [number]


def test_an_exception_reaches_its_callers_and_the_batcher_goes_on() -> None:
    def broken(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise KeyError("a mistake")

    double = Double()

    async def work(batcher: Batcher) -> None:
        for _ in range(3):
            calls = [batcher.run(Call(broken, [rows(1)])) for _ in range(3)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [str(error) for error in found] == ["'a mistake'"] * 3
        [answer] = await batcher.run(Call(double, [rows(1)]))
        assert answer.tolist() == [0]

    run(work)


@pytest.mark.parametrize("changes", [{}, {"max_batch_size": 1, "max_enqueued_batches": 16}])
def test_a_full_queue_is_told_at_once(changes: dict[str, int]) -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        double.may_go.clear()
        first = asyncio.create_task(batcher.run(Call(double, [rows(1)])))
        assert await asyncio.to_thread(double.begun.wait, PATIENCE)
        waiting = [asyncio.create_task(batcher.run(Call(double, [rows(1)]))) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match=r"queue to which this task .* is full") as raised:
            await batcher.run(Call(double, [rows(1)]))
        assert raised.value.code is Code.UNAVAILABLE
        double.may_go.set()
        await asyncio.gather(first, *waiting)
        await batcher.run(Call(double, [rows(1)]))

    run(work, **{"max_enqueued_batches": 2, **changes})


@pytest.mark.parametrize("limits", [{"max_enqueued_batches": 2}, {"max_enqueued_bytes": 7}])
def test_a_large_call_is_taken_where_little_waits_and_fills_the_queue(
    limits: dict[str, int],
) -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        double.may_go.clear()
        first = asyncio.create_task(batcher.run(Call(double, [rows(1)])))
        assert await asyncio.to_thread(double.begun.wait, PATIENCE)
        large = asyncio.create_task(batcher.run(Call(double, [rows(50)])))
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match="is full"):
            await batcher.run(Call(double, [rows(1)]))
        double.may_go.set()
        await first
        assert len((await large)[0]) == 50

    run(work, **limits)


def test_who_gave_up_is_left_out() -> None:
    double = Double()

    async def work(batcher: Batcher) -> None:
        double.may_go.clear()
        first = asyncio.create_task(batcher.run(Call(double, [rows(1)])))
        assert await asyncio.to_thread(double.begun.wait, PATIENCE)
        gone = [asyncio.create_task(batcher.run(Call(double, [rows(20)]))) for _ in range(3)]
        staying = [asyncio.create_task(batcher.run(Call(double, [rows(2)]))) for _ in range(4)]
        await asyncio.sleep(0)
        for call in (*gone, first):
            call.cancel()
        await asyncio.sleep(0)
        double.may_go.set()
        assert [len((await call)[0]) for call in staying] == [2] * 4
        assert all(call.cancelled() for call in gone)

    run(work)
    assert double.sizes == [1, 8]


def test_several_threads_work_at_a_time() -> None:
    meeting = threading.Barrier(3)

    def meet(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        meeting.wait(PATIENCE)
        return list(arrays)

    answers = together([Call(meet, [rows(8)]) for _ in range(3)], num_batch_threads=3)
    assert [len(answer[0]) for answer in answers] == [8] * 3


# Any mix.


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 13), st.integers(0, 1), st.booleans()), max_size=25),
    st.fixed_dictionaries(
        {
            "num_batch_threads": st.integers(1, 3),
            "batch_timeout_micros": st.sampled_from([0, 300]),
            "allowed_batch_sizes": st.sampled_from([[], [8], [1, 3, 8]]),
            "pad_variable_length_inputs": st.booleans(),
        }
    ),
)
def test_everyone_has_the_own_rows(
    sizes: list[tuple[int, int, bool]], changes: dict[str, Any]
) -> None:
    functions = [Double(), Double()]
    calls, wanted = [], []
    for number, (size, which, bad) in enumerate(sizes):
        array = np.full((size, 2), number, np.float32) + rows(size)[:, None] / 16
        calls.append(Call(_no_negatives if bad else functions[which], [-array if bad else array]))
        wanted.append(array * 2)
    for (size, _, bad), answer, array in zip(
        sizes, together(calls, **changes), wanted, strict=True
    ):
        if bad and size and array.any():
            assert isinstance(answer, ServingError)
        elif not bad:
            [found] = answer
            np.testing.assert_array_equal(found, array)
    assert all(size <= 8 for function in functions for size in function.sizes)


# Real models.


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedModel]:
    folder = serving_models.every(tmp_path_factory.mktemp("every") / "1")
    model = SavedModel(str(folder), ["serve"])
    yield model
    model.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedModel]:
    folder = serving_models.images(tmp_path_factory.mktemp("images") / "1")
    model = SavedModel(str(folder), ["serve"])
    yield model
    model.close()


def function_of(model: SavedModel, name: str) -> Function:
    signature = model.signatures[name]
    return model.function(
        tuple(info.name for _, info in sorted(signature.inputs.items())),
        tuple(info.name for _, info in sorted(signature.outputs.items())),
    )


def test_a_bad_number_fails_its_own_request(every: SavedModel) -> None:
    function = function_of(every, "checked")
    numbers = [4, 9, -1, 16, 25]
    *_, last = answers = together([Call(function, [np.array([n], np.float32)]) for n in numbers])
    assert last[0].tolist() == [5]
    assert [a[0].item() for a in answers if not isinstance(a, Exception)] == [2, 3, 4, 5]
    error = answers[2]
    assert isinstance(error, ServingError)
    assert error.code is Code.INVALID_ARGUMENT
    assert "no negative numbers" in error.message
    assert "{{" not in error.message
    assert "\n" not in error.message


def test_a_bad_image_fails_its_own_request(images: SavedModel) -> None:
    function = function_of(images, "serving_default")
    pictures = [encoded(np.full((3, 2, 3), 51 * n, np.uint8)) for n in range(6)]
    pictures[1:1] = [b"no image"]
    pictures[4:4] = [pictures[0][:30]]
    answers = together([Call(function, [np.array([p], object)]) for p in pictures])
    errors = [n for n, answer in enumerate(answers) if isinstance(answer, ServingError)]
    assert errors == [1, 4]
    lightness = [float(a[1][0, 1]) for a in answers if not isinstance(a, ServingError)]
    assert lightness == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_sum_over_the_batch_is_everyone_s_own(every: SavedModel) -> None:
    function = function_of(every, "total")
    answers = together([Call(function, [rows(n)]) for n in (3, 2, 20)])
    assert [float(answer[0]) for answer in answers] == [3, 1, 190]


def test_texts_run_together(every: SavedModel) -> None:
    function = function_of(every, "upper")
    answers = together([Call(function, [np.array(t, object)]) for t in ([b"a"], [b"b", b"c\0"])])
    assert [answer[1].tolist() for answer in answers] == [[b"A"], [b"B", b"C\0"]]


def test_scalars_are_answered(every: SavedModel) -> None:
    for allowed in ([], [4, 8]):
        calls = [
            Call(function_of(every, "echo_string"), [np.array(b"a", object)]),
            Call(function_of(every, "echo_float32"), [np.array(3, np.float32)]),
        ]
        texts, numbers = together(calls, allowed_batch_sizes=allowed)
        assert (texts[0].shape, texts[0].item()) == ((), b"a")
        assert (numbers[0].shape, numbers[0].item()) == ((), 3)


def test_padded_texts_are_tensorflow_s(every: SavedModel) -> None:
    function = function_of(every, "echo_string")
    arrays = [np.array([[b"a"]], object), np.array([[b"b", b"c"]], object)]
    answers = together([Call(function, [a]) for a in arrays], pad_variable_length_inputs=True)
    assert [answer[0].tolist() for answer in answers] == [[[b"a", b""]], [[b"b", b"c"]]]
