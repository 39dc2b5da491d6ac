"""``mien lab au-response``: does each action unit answer when it is driven."""

from pathlib import Path
from typing import Annotated

import typer

from .options import progress_bar


def au_response(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures: au-response.csv and au-response.png.")
    ] = None,
    photo: Annotated[
        Path | None, typer.Option(help="A portrait to animate instead of the public-domain astronaut.")
    ] = None,
) -> None:
    """Does each action unit answer when it is driven, and no other? Prints the response matrix.

    A puppeteered photograph shows one action unit at a time: frontal, turned by 20 degrees to either side,
    and with a face of 66 and of 300 pixels. Exits with 1 where a unit that counts does not answer more than
    3 times as strongly as every other that is not coupled to it.
    """
    from mien_client.system_libraries import require_system_libraries

    require_system_libraries()
    from ..au_response import CONDITIONS, as_csv, heat_map, measure_responses
    from ..au_response_screen import show

    with progress_bar("measuring", as_json=False) as progress:
        responses = measure_responses(CONDITIONS, progress, photo)
    passed = show(responses)
    if out is not None:
        from mien_common.files import storage_errors, write_atomic

        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "au-response.csv", as_csv(responses))
        write_atomic(out / "au-response.png", heat_map(responses))
        print(f"wrote {out / 'au-response.csv'} and {out / 'au-response.png'}")
    if not passed:
        raise typer.Exit(1)
