import time

import numpy as np
import pytest
from capture_stub import stand_in, write_capture_model

from serep.export.live import live, recording
from serep.models.capture import CaptureModel

FPS, FRAMES = 100.0, 80


@pytest.fixture(scope="module")
def model(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    return CaptureModel.load(folder)


def camera():
    """Eighty frames of growing brightness, which come whether somebody takes them or not."""
    for number in range(FRAMES):
        time.sleep(1 / FPS)
        yield np.full((64, 48, 3), 60 + 2 * number, np.uint8)


def test_a_slow_captor_leaves_frames_out_and_stays_near_the_present(model, topology, monkeypatch):
    stand_in(monkeypatch, topology)
    engine, took = model.engine, []

    class Slow:
        image_size = engine.image_size

        def __call__(self, crops):
            time.sleep(0.04)
            return engine(crops)

    monkeypatch.setattr(model, "engine", Slow())
    captured, start = [], time.perf_counter()
    for one in live(model, camera(), fps=FPS):
        captured.append(one)
        took.append(time.perf_counter() - start)
        start = time.perf_counter()
    numbers = [one.number for one in captured]
    assert numbers == sorted(set(numbers)) and len(numbers) < 0.7 * FRAMES and numbers[-1] == FRAMES - 1
    delays = np.array([one.delay_s for one in captured])
    assert np.median(delays) < 2.5 * np.median(took)  # the time of this frame and of the one before it: waiting does not add up
    assert all(one.result.found.all() and len(one.result.found) == 1 for one in captured)

    whole = recording(captured, fps=30.0)
    assert len(whole.found) == numbers[-1] - numbers[0] + 1
    for row in (0, len(whole.found) // 2, -1):
        number = numbers[0] + (row % len(whole.found))
        newest = max((one for one in captured if one.number <= number), key=lambda one: one.number)
        np.testing.assert_array_equal(whole.codes[row], newest.result.codes[0])
    span = captured[-1].arrived_s - captured[0].arrived_s
    assert whole.fps == pytest.approx((numbers[-1] - numbers[0]) / span)


def test_missed_frames_count_as_time_for_smoothing(model, topology, monkeypatch):
    """After many missed frames a smoothed code has come nearer to what is seen than after one."""
    from serep.models.capture import CaptureStream
    from serep.models.smoothing import OneEuro

    stand_in(monkeypatch, topology)
    slow = OneEuro(min_cutoff=0.5, beta=0.0, speed_cutoff=1.0)
    monkeypatch.setattr(model, "settings", type(model.settings)(model.settings.tracking, 40.0, slow, slow, slow))
    dark, bright = np.full((64, 48, 3), 60, np.uint8), np.full((64, 48, 3), 220, np.uint8)
    codes = []
    for missed in (0, 4):
        stream = CaptureStream(model, fps=30.0)
        stream.push([dark])
        codes.append(float(stream.push([bright], missed=missed).codes[0, 1]))
    assert codes[1] < codes[0] - 0.1  # the stand-in's code is minus the brightness


def test_nothing_captured_is_no_recording():
    with pytest.raises(ValueError, match="nothing was captured"):
        recording([], fps=30.0)
