"""Fixtures for the tests of the runtime: a separate cache folder, images, and a small bundle made by hand."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13
from PIL import Image

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import (
    GOLDEN,
    KNOWN_SCORE,
    LABELS,
    ONNX,
    CalibrationRecord,
    KnownScore,
    Manifest,
    OnnxRecord,
    Parity,
    Provenance,
    VariantRecord,
    hash_files,
    write_manifest,
)
from overfly.runtime.images.reading import ImageSpec

CLASSES = ("beach", "forest", "harbor", "river")
SIZE = 8
UTM = "EPSG:32632"
# Pixels of 2 m in the projection; at its central meridian the scale is 0.9996.
PIXEL_M = 2.0
# The side of a window of `SIZE` pixels on the ground.
SCENE_M = SIZE * 2 / 0.9996
PARITY = Parity(n_images=6, max_abs_diff=0.0, min_cosine=1.0, top1_agreement=1.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep compiled models out of the user's cache."""
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pixels():
    """A function that draws uint8 noise of shape `[height, width, channels]`."""

    def draw(height, width=None, channels=3, *, seed=0):
        shape = (height, width or height) + ((channels,) if channels > 1 else ())
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return draw


@pytest.fixture
def image(tmp_path, pixels):
    """A small PNG of noise and its pixels."""
    content = pixels(SIZE)
    path = tmp_path / "scene.png"
    Image.fromarray(content).save(path)
    return path, content


def linear_weights():
    """A float32 matrix that gives every pixel and channel its own weight, `[SIZE * SIZE * 3, len(CLASSES)]`."""
    return np.random.default_rng(7).normal(size=(SIZE * SIZE * 3, len(CLASSES))).astype(np.float32)


def linear_model(weights, *, known_score=False):
    """uint8 `[N, SIZE, SIZE, 3]` -> logits: the pixels scaled to [0, 1], flattened, times `weights`.

    The known score of an image is the mean of its scaled pixels.
    """
    images = opset13.parameter([-1, SIZE, SIZE, 3], np.uint8, name="images")
    scaled = opset13.divide(opset13.convert(images, "f32"), np.float32(255))
    flat = opset13.reshape(scaled, np.array([-1, SIZE * SIZE * 3]), special_zero=False)
    logits = opset13.matmul(flat, opset13.constant(weights), transpose_a=False, transpose_b=False)
    if not known_score:
        return ov.Model([logits], [images], "linear")
    brightness = opset13.reduce_mean(flat, [1])
    brightness.output(0).set_names({KNOWN_SCORE})
    return ov.Model([logits, brightness], [images], "linear")


@pytest.fixture
def expected_logits():
    """A function that computes the hand-made model's logits without OpenVINO."""
    weights = linear_weights().astype(np.float64)

    def compute(images):
        return images.reshape(len(images), -1).astype(np.float64) / 255 @ weights

    return compute


def write_bundle(folder, *, model, images, logits, names=("fp32", "fp16"), known_score=None):
    """Write a whole bundle of a model with the variants fp32 and fp16."""
    folder.mkdir()
    variants = {}
    for name in names:
        ov.save_model(model, folder / f"{name}.xml", compress_to_fp16=name == "fp16")
        calibration = CalibrationRecord(seed=3, sha256=("00" * 32,)) if name == "fp16" else None
        variants[name] = VariantRecord(f"{name}.xml", f"{name}.bin", "made by hand", PARITY, calibration)
    np.savez(folder / GOLDEN, images=images, logits=logits.astype(np.float32))
    (folder / LABELS).write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    (folder / ONNX).write_bytes(b"stands for the ONNX model, which nothing here reads")
    manifest = Manifest(
        model="linear",
        classes=CLASSES,
        image=ImageSpec(SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        output="logits",
        golden_part="test",
        files=hash_files(folder),
        onnx=OnnxRecord(opset=18, parity=PARITY),
        variants=variants,
        provenance=Provenance("1" * 64, "2" * 64, 0, ("3" * 64,), {"openvino": "2025.0"}, ("4" * 16,), ()),
        known_score=known_score,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def make_bundle(tmp_path, pixels, expected_logits):
    """A function that writes a bundle whose golden answers are right by default."""

    def make(name="bundle", *, weights=None, images=None, logits=None, model=None, **options):
        images = np.stack([pixels(SIZE, seed=i) for i in range(6)]) if images is None else images
        logits = expected_logits(images) if logits is None else logits
        model = linear_model(linear_weights() if weights is None else weights) if model is None else model
        return write_bundle(tmp_path / name, model=model, images=images, logits=logits, **options)

    return make


@pytest.fixture
def known_bundle(make_bundle):
    """A bundle in which an image is known if the mean of its pixels is at least 102, or 153 for fp16."""
    score = KnownScore(
        method="brightness",
        n_training_images=10,
        acceptance=0.99,
        part="val",
        n_images=100,
        thresholds={"fp32": 0.4, "fp16": 0.6},
    )
    return make_bundle("known", model=linear_model(linear_weights(), known_score=True), known_score=score)


@pytest.fixture
def bundle(make_bundle):
    """An opened bundle."""
    return Bundle.open(make_bundle())


@pytest.fixture
def write_raster(tmp_path):
    """A function that writes pixels of shape [H, W, 3] as a GeoTIFF and returns its path."""

    def write(pixels, name="field.tif", *, crs=UTM, transform=None, mask=None, **choices):
        import rasterio
        from rasterio import Affine

        transform = transform or Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 5_000_000)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        height, width, count = pixels.shape
        profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": count, "height": height, "width": width}
        with rasterio.open(path, "w", **profile, crs=crs, transform=transform, **choices) as dataset:
            dataset.write(pixels.transpose(2, 0, 1))
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return write


@pytest.fixture
def raster(write_raster, pixels):
    """A raster of noise of 10 x 7 windows."""
    return write_raster(pixels(7 * SIZE, 10 * SIZE))


@pytest.fixture
def make_map(tmp_path, make_bundle):
    """A function that maps rasters with the hand-made bundle and returns the result."""
    bundle = []

    def make(
        *rasters, out=None, resume=False, overwrite=False, reporter=None, open_engine=None, bundle_path=None, **choices
    ):
        from overfly.runtime.mapping.job import MapJob, make_maps

        if not bundle:
            bundle.append(bundle_path or make_bundle())
        choices = {"scene_m": SCENE_M, "device": "CPU", "variant": "fp32"} | choices
        job = MapJob(bundle=bundle[0], rasters=rasters, out=out or tmp_path / "map", **choices)
        more = {} if reporter is None else {"reporter": reporter}
        return make_maps(job, resume=resume, overwrite=overwrite, open_engine=open_engine, **more)

    return make
