"""The common look of all figures, and how they are written."""

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

#: The palette of Okabe and Ito 2008, which colour-blind people can tell apart, without its yellow and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: The line styles: when all colours are used, they are used again with the next style.
STYLES = ("-", "--", ":", "-.")
GREY = "#777777"
#: The most characters of a class name that are shown.
LABEL = 27
#: Characters of the title per inch of the figure's width.
PER_INCH = 12

#: Class names with dollar signs are not parsed as formulas. A fixed salt gives equal SVG files the same ids.
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
def new_figure(
    folder: Path, name: str, title: str, protocol: str, size: tuple[float, float]
) -> Iterator[tuple["Figure", list[str]]]:
    """Yields an empty figure of `size` (width, height) inches, and the names of the PNG and SVG files to be written.

    The figure has the title and the protocol above it. The files are written at the end of the block, unless it
    raises. Equal figures give equal files. Raises UserError without matplotlib, or if the folder cannot be written.
    """
    require("matplotlib")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
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
    """Returns a class name for a figure: printable, and shortened in the middle if it is long."""
    label = printable(label)
    half = (LABEL - 1) // 2
    return label if len(label) <= LABEL else f"{label[:half]}…{label[-half:]}"


def line_style(number: int) -> dict[str, Any]:
    """Returns colour and style of a figure's line `number`, for matplotlib. The first 24 differ."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}


def rounded(value: float | None) -> str:
    """Returns a number with three digits, such as `0.834`; a dash if it is None or not finite."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def explain_empty(axes: "Axes", text: str) -> None:
    """Write into an empty plot why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
