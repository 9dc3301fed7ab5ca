"""How every figure looks, and how it comes to the disk."""

import math
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stonkgs.disk import make_folder, publish
from stonkgs.errors import printable
from stonkgs.evaluate.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito 2008, told apart by the colour-blind; its yellow and black are left out. Then line styles tell.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
STYLES = ("-", "--", ":", "-.")
GREY = "#777777"
#: Characters of a class name that are shown.
LABEL = 27
#: Characters of the title to an inch of width.
PER_INCH = 12

#: Names are no formulas, whatever dollar signs they have; a fixed salt gives equal SVG the same ids.
_SETTINGS: Any = {
    "text.parse_math": False,
    "text.usetex": False,
    "svg.hashsalt": "stonkgs",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


@contextmanager
def drawn(
    folder: Path, name: str, title: str, protocol: str, size: tuple[float, float]
) -> Iterator[tuple["Figure", list[str]]]:
    """A figure of `size` inches, width first, and the file names that it is written to at the end, PNG and SVG.

    It has `title` above it and the protocol below that. Nothing is written where the block raises. Equal figures give
    equal files. Raises UserError without matplotlib, or where the folder cannot be written.
    """
    require("matplotlib")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which says enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(size, layout="constrained")
        FigureCanvasAgg(figure)
        lines = [title, *textwrap.wrap(printable(protocol), int(size[0] * PER_INCH))]
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5)
        files = [f"{name}.png", f"{name}.svg"]
        yield figure, files
        for file in files:
            _save(figure, make_folder(folder) / file)


def _save(figure: "Figure", path: Path) -> None:
    form = path.suffix[1:]
    with publish(path) as file:
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)


def short(label: str) -> str:
    """A class name as it is shown: printable, and cut in the middle where it is long."""
    label = printable(label)
    half = (LABEL - 1) // 2
    return label if len(label) <= LABEL else f"{label[:half]}…{label[-half:]}"


def line(number: int) -> dict[str, Any]:
    """Colour and style of a figure's line `number`: 24 that differ."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}


def rounded(value: float | None) -> str:
    """`0.834`, a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def say(axes: "Axes", text: str) -> None:
    """Say in an empty plot why it is."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
