"""The response matrix as a person reads it: responses in, tables on the terminal out."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mien_lab.au_response import BOUND, COUPLED, EXPERIMENTAL_UNITS, Response
from mien_lab.puppet_units import UNITS

_WIDTH = 120


def show(responses: Sequence[Response], console: Console | None = None) -> bool:
    """Print a matrix per condition, the couplings and the verdict; whether every unit passed."""
    console = console or Console(width=_WIDTH)
    failures = []
    for response in responses:
        console.print(_matrix(response))
        rivals = response.rivals()
        failures += [(response, unit, *found) for unit, found in rivals.items() if found[0] <= BOUND]
        weakest = min(rivals, key=lambda unit: rivals[unit][0])
        ratio, rival = rivals[weakest]
        console.print(f"weakest: AU{weakest}, {ratio:.1f} times its strongest rival, AU{rival}\n")
    console.print("Coupled, and marked * above:")
    for unit, others in COUPLED.items():
        for other, why in others.items():
            console.print(f"  AU{unit} → AU{other}: {why}")
    experimental = ", ".join(f"AU{unit}" for unit in EXPERIMENTAL_UNITS)
    console.print(f"Experimental, marked ? above, left out of the model and of the verdict: {experimental}")
    for response, unit, ratio, rival in failures:
        console.print(f"MISSED: {response.condition.name}: AU{unit} {ratio:.1f} times AU{rival}")
    if not failures:
        console.print(f"Every other unit answers more than {BOUND:g} times its strongest rival.")
    return not failures


def _matrix(response: Response) -> Table:
    name, yaw_deg = response.condition.name, response.yaw_deg
    title = f"{name}: response (0 to 5) of each channel, measured yaw {yaw_deg:+.1f}°"
    table = Table(title=title, box=SIMPLE, padding=(0, 0), pad_edge=False)
    table.add_column("driven", justify="right")
    for unit in UNITS:
        table.add_column(_name(unit), justify="right", width=5)
    for row, driven in enumerate(UNITS):
        cells = []
        for column, unit in enumerate(UNITS):
            cell = f"{response.matrix[row, column]:.1f}"
            if driven == unit:
                cell = f"[bold]{cell}[/bold]"
            if unit in COUPLED.get(driven, {}):
                cell += "*"
            if unit in EXPERIMENTAL_UNITS or driven in EXPERIMENTAL_UNITS:
                cell = f"[dim]{cell}[/dim]"
            cells.append(cell if response.matrix[row, column] >= 0.05 or driven == unit else "·")
        table.add_row(_name(driven), *cells)
    return table


def _name(unit: int) -> str:
    return f"{unit}?" if unit in EXPERIMENTAL_UNITS else str(unit)
