"""The only function that a client asks workers for. It travels by its name, so it must keep it, and its parameters."""

import dataclasses
from typing import Any

from distributed import get_worker

from overfly.runtime.cluster.request import Answer
from overfly.runtime.cluster.service import BlockService, Place


def classify_block(
    version: str, model_text: str, raster_text: str, place: Place, wanted: bytes | None
) -> dict[str, Any]:
    """Classify a block in a worker; see `overfly.runtime.cluster.service.BlockService.answer`.

    Returns
    -------
    dict
        An `overfly.runtime.cluster.request.Answer`.
    """
    worker = get_worker()
    service: BlockService | None = getattr(worker, "service", None)
    if service is None:
        answer = Answer(refused="it is a worker of Dask without --root: start it with  overfly worker")
    else:
        answer = service.answer(version, model_text, raster_text, place, wanted)
    return dataclasses.asdict(dataclasses.replace(answer, worker=str(worker.name), address=worker.address))
