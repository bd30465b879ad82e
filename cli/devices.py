"""``overfly devices``: the devices that OpenVINO can use here, and why it can't use the others."""

import json

import click

from overfly.cli import options


@click.command(short_help="List the devices that OpenVINO can use here.", epilog=options.example("overfly devices"))
@options.as_json
def command(as_json: bool) -> None:
    """List the devices that OpenVINO can use on this machine, and say why a GPU or NPU is missing."""
    from dataclasses import asdict

    from overfly.runtime.inference.devices import list_devices
    from overfly.runtime.inference.diagnosis import explain_absence

    devices = list_devices()
    kinds = {device.name.partition(".")[0] for device in devices}
    absent = {kind: explain_absence(kind) for kind in ("GPU", "NPU") if kind not in kinds}
    if as_json:
        click.echo(json.dumps({"devices": [asdict(device) for device in devices], "absent": absent}))
        return
    for device in devices:
        click.echo(f"{device.name:<6} {device.full_name}")
        click.echo(f"       {device.kind}, default precision {device.default_precision}")
        click.echo(f"       native precisions: {', '.join(device.capabilities) or 'unknown'}")
        if device.driver is not None:
            click.echo(f"       driver {device.driver}")
        if device.memory_bytes is not None:
            click.echo(f"       memory {device.memory_bytes / 2**30:.1f} GiB")
    for kind, reason in absent.items():
        click.echo(f"{kind:<6} absent: {reason}")
