"""A hand-made model gives the right logits, one image at a time and in a stream, in order, from any thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.devices import core, full_name

SIZE, N_CLASSES = 8, 4


N_IMAGES = 300


@pytest.fixture
def stack():
    """Many different images, `[N_IMAGES, SIZE, SIZE, 3]`."""
    return np.random.default_rng(5).integers(0, 256, (N_IMAGES, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def runner(bundle):
    return compile_variant(bundle, variant="fp32", device="CPU")


def test_the_logits_are_those_computed_without_openvino(runner, stack, expected_logits):
    logits = runner.logits(stack)
    assert logits.dtype == np.float32
    assert logits.shape == (N_IMAGES, N_CLASSES)
    assert np.allclose(logits, expected_logits(stack), rtol=0, atol=1e-4)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_stream_keeps_the_order(bundle, stack, expected_logits, hint):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint=hint)
    assert runner.n_requests >= 1
    # Each image is made when it is asked for and forgotten at once: the runner has to keep it alive itself.
    rows = list(runner.stream(np.array(image) for image in stack))
    assert np.allclose(rows, expected_logits(stack), rtol=0, atol=1e-4)


def test_at_most_twice_n_requests_are_in_flight(bundle, stack):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint="throughput")
    assert runner.depth == 2 * runner.n_requests
    asked = 0

    def images():
        nonlocal asked
        for image in stack:
            asked += 1
            yield image

    for n_answered, _ in enumerate(runner.stream(images()), start=1):
        assert asked - n_answered < runner.depth
    assert asked == N_IMAGES


def test_an_image_may_be_overwritten_as_soon_as_it_was_given(runner, stack, expected_logits):
    buffer = np.empty_like(stack[0])
    started = []
    for image in stack[:50]:
        buffer[:] = image
        started.append(runner.start(buffer))
    buffer[:] = 0
    assert np.allclose([each.result() for each in started], expected_logits(stack[:50]), rtol=0, atol=1e-4)


def test_a_stream_may_draw_every_image_into_the_same_array(runner, stack, expected_logits):
    buffer = np.empty_like(stack[0])

    def camera():
        for image in stack:
            buffer[:] = image
            yield buffer
            buffer[:] = 0

    assert np.allclose(list(runner.stream(camera())), expected_logits(stack), rtol=0, atol=1e-4)


def test_logits_are_the_callers_own(runner, stack, expected_logits):
    kept = [runner.infer(image[np.newaxis])[0] for image in stack[:5]]
    kept += [runner.start(image).result() for image in stack[:5]]
    runner.logits(stack)
    assert np.allclose(kept, np.tile(expected_logits(stack[:5]), (2, 1)), rtol=0, atol=1e-4)


def test_a_request_that_is_done_says_so(runner, stack):
    started = runner.start(stack[0])
    started.request.wait()
    assert started.done()


def test_an_image_of_another_shape_is_rejected_and_the_runner_still_works(runner, stack, expected_logits):
    for wrong in (np.zeros((SIZE, SIZE + 1, 3), np.uint8), np.zeros((SIZE, SIZE, 4), np.uint8)):
        with pytest.raises(ValueError, match="could not broadcast"):
            runner.start(wrong)
        with pytest.raises(ValueError, match="could not broadcast"):
            runner.infer(wrong[np.newaxis])
    assert np.allclose(runner.logits(stack[:3]), expected_logits(stack[:3]), atol=1e-4)


def test_threads_share_a_runner(bundle, stack, expected_logits):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint="throughput")
    expected = expected_logits(stack)

    def work(seed):
        order = np.random.default_rng(seed).permutation(N_IMAGES)
        single = np.concatenate([runner.infer(stack[i : i + 1]) for i in order[:50]])
        started = [runner.start(stack[i]) for i in order[:50]]
        assert np.allclose([each.result() for each in started], expected[order[:50]], rtol=0, atol=1e-4)
        stream = np.stack(list(runner.stream(stack[i] for i in order)))
        assert np.allclose(single, expected[order[:50]], rtol=0, atol=1e-4)
        assert np.allclose(stream, expected[order], rtol=0, atol=1e-4)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, seed) for seed in range(16)]:
            future.result()


def test_a_stream_left_early_harms_nothing(runner, stack, expected_logits):
    for n_taken in range(1, 20):
        stream = runner.stream(np.array(image) for image in stack)
        for _ in range(n_taken):
            next(stream)
        del stream
    assert np.allclose(runner.logits(stack[:50]), expected_logits(stack[:50]), atol=1e-4)


def test_a_source_that_fails_harms_nothing(runner, stack, expected_logits):
    def unplugged():
        yield from stack[:7]
        raise KeyError("camera unplugged")

    with pytest.raises(KeyError, match="camera unplugged"):
        runner.logits(unplugged())
    assert np.allclose(runner.logits(stack[:50]), expected_logits(stack[:50]), atol=1e-4)


def test_a_closed_runner_says_so_whatever_it_is_asked(runner, stack):
    runner.logits(stack[:3])
    runner.close()
    runner.close()
    for use in (
        lambda: runner.infer(stack[:1]),
        lambda: runner.start(stack[0]),
        lambda: runner.logits(stack),
        lambda: runner.device,
        lambda: runner.device_name,
        lambda: runner.execution_precision,
    ):
        with pytest.raises(ValueError, match="closed") as caught:
            use()
        assert str(caught.value) == "the runner is closed: open the bundle again"


def test_what_is_in_flight_when_the_runner_is_closed_is_answered_and_no_more(runner, stack, expected_logits):
    in_flight = [runner.start(image) for image in stack[:5]]
    runner.close()
    assert np.allclose([each.result() for each in in_flight], expected_logits(stack[:5]), atol=1e-4)
    # The requests that came back are not handed out again, nor kept, as each holds the device's memory.
    assert not runner._idle
    with pytest.raises(ValueError, match="closed"):
        runner.infer(stack[:1])


def test_a_stream_ends_with_its_runner(runner, stack):
    stream = runner.stream(stack)
    next(stream)
    runner.close()
    with pytest.raises(ValueError, match="closed"):
        list(stream)


def test_closing_while_threads_infer_leaves_them_right_answers_until_it_is_closed(runner, stack, expected_logits):
    expected = expected_logits(stack)

    def infer_until_closed(first):
        for i in range(first, 10**9):
            try:
                row = runner.infer(stack[i % N_IMAGES][np.newaxis])[0]
            except ValueError as error:
                return str(error)
            assert np.allclose(row, expected[i % N_IMAGES], rtol=0, atol=1e-4)
        raise AssertionError("the runner was never closed")

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(infer_until_closed, 50 * i) for i in range(4)]
        runner.logits(stack)
        runner.close()
    assert all("closed" in thread.result() for thread in threads)


def test_an_empty_stream_yields_nothing(runner):
    assert list(runner.stream([])) == []


def test_views_that_are_not_contiguous(runner, stack, expected_logits):
    turned = stack.transpose(0, 2, 1, 3)[:, ::-1]
    assert not turned[0].flags.c_contiguous
    assert np.allclose(runner.logits(turned), expected_logits(np.ascontiguousarray(turned)), atol=1e-4)


def test_infer_gives_the_same_as_logits(runner, stack):
    rows = [runner.infer(image[np.newaxis]).copy() for image in stack[:20]]
    assert rows[0].shape == (1, N_CLASSES)
    assert (np.concatenate(rows) == runner.logits(stack[:20])).all()


def test_fp32_is_computed_in_f32(runner):
    assert (runner.variant, runner.device) == ("fp32", "CPU")
    assert (runner.requested_precision, runner.execution_precision) == ("f32", "f32")
    assert runner.device_name not in {"", "CPU"}


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU", "MULTI:CPU"])
def test_meta_devices_say_what_they_really_run_on(bundle, stack, expected_logits, device):
    runner = compile_variant(bundle, variant="fp32", device=device)
    assert np.allclose(runner.logits(stack[:20]), expected_logits(stack[:20]), atol=1e-3)
    assert runner.device in core().available_devices
    assert runner.device_name == full_name(runner.device)
    assert runner.execution_precision == "f32"
