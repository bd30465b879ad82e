"""ONNX Runtime's own INT8, made with the images that made the bundle's: what most people would do instead."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path

from overfly.benchmarks.models.backends import first_line
from overfly.runtime.errors import DeviceError
from overfly.runtime.extras import require_extra
from overfly.runtime.images.reading import ImageBatch

# Gives uint8 [N, S, S, 3]; raises DataError where the images are not at hand.
Calibration = Callable[[], ImageBatch]


def quantize_onnx(source: Path, target: Path, calibration: Calibration) -> None:
    """Write `source`, quantised statically, as `target`.

    As ONNX Runtime's documentation advises for convolutional networks on x86: the QDQ format, weights
    by channel, activations by their smallest and largest value.

    Parameters
    ----------
    source
        Written by ``overfly export``.
    target
        The file to write.
    calibration
        The images that set the ranges.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``export`` is not installed.
    DeviceError
        When the tool fails.
    """
    require_extra("export")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = calibration()

    class Reader(CalibrationDataReader):  # type: ignore[misc] # it is untyped
        def __init__(self) -> None:
            self._rest = iter(images)

        def get_next(self) -> dict[str, ImageBatch] | None:
            image = next(self._rest, None)
            return None if image is None else {"images": image[None]}

    prepared = target.with_suffix(".prepared.onnx")
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # The tool prints what it thinks while it works.
        with contextlib.redirect_stdout(io.StringIO()):
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    except Exception as error:  # whatever the tool raises
        raise DeviceError(f"ONNX Runtime can't quantise {source}: {first_line(error)}") from error
    finally:
        logger.setLevel(level)
        prepared.unlink(missing_ok=True)
