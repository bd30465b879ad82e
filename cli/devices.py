"""``overfly devices``: what OpenVINO can run on here, and why not on the rest."""

import json

import click

from overfly.cli import options


@click.command(short_help="List the devices OpenVINO has on this machine.", epilog=options.example("overfly devices"))
@options.as_json
def command(as_json: bool) -> None:
    """List the devices that OpenVINO has on this machine; say what an absent GPU or NPU lacks."""
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
        click.echo(f"       {device.kind}, computes in {device.default_precision} unless told otherwise")
        click.echo(f"       fast formats: {', '.join(device.capabilities) or 'not told'}")
        if device.driver is not None:
            click.echo(f"       driver {device.driver}")
        if device.memory_bytes is not None:
            click.echo(f"       memory {device.memory_bytes / 2**30:.1f} GiB")
    for kind, reason in absent.items():
        click.echo(f"{kind:<6} absent: {reason}")
