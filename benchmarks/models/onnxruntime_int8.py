"""ONNX Runtime's own INT8, calibrated with the same images as the bundle's: what most people would deploy instead."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path

from overfly.runtime.errors import DeviceError, first_line
from overfly.runtime.extras import require_extra
from overfly.runtime.files.replacing import remove
from overfly.runtime.images.reading import ImageBatch

# Returns uint8 [N, S, S, 3]; raises DataError if the images are missing.
Calibration = Callable[[], ImageBatch]


def require_quantizer() -> None:
    """Check that what ONNX Runtime's quantization needs is installed; raise MissingExtraError if it is not."""
    require_extra("export", "onnx")


def quantize_onnx(source: Path, target: Path, calibration: Calibration) -> None:
    """Quantize an ONNX model statically, as ONNX Runtime's documentation advises for convolutional networks on x86.

    That is the QDQ format, weights per channel, activations by their smallest and largest value.

    Parameters
    ----------
    source
        The ONNX file of a bundle.
    target
        The file to write.
    calibration
        Returns the calibration images.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    DeviceError
        If the tool fails.
    """
    require_quantizer()
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = calibration()

    class Reader(CalibrationDataReader):  # type: ignore[misc] # it is untyped
        def __init__(self) -> None:
            self._input_name = onnx.load(source).graph.input[0].name
            self._images = iter(images)

        def get_next(self) -> dict[str, ImageBatch] | None:
            image = next(self._images, None)
            return None if image is None else {self._input_name: image[None]}

    prepared = target.with_suffix(".prepared.onnx")
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # The tool prints its progress.
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
        raise DeviceError(f"ONNX Runtime can't quantize {source}: {first_line(error)}") from error
    finally:
        logging.disable(disabled)
        with contextlib.suppress(OSError):  # the bench deletes its folder anyway
            remove(prepared)
