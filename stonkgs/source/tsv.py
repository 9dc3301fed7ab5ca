"""Tab-separated values: quoted as pandas and spreadsheets write them, or with plain quotes."""

from collections.abc import Callable, Mapping
from typing import Literal

from stonkgs.config.values import Count, checked
from stonkgs.source.base import Limit
from stonkgs.source.delimited import DelimitedSource
from stonkgs.source.file import Paths
from stonkgs.source.text.records import Lines


class TsvSource(DelimitedSource):
    """Tab-separated values with a header."""

    remedy = "if quotes are ordinary characters in this file, set source.quoting=none"

    @checked("source")
    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None = None,
        quoting: Literal["csv", "none"] = "csv",
        max_record: Count = 1 << 20,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, columns=columns, delimiter="\t", max_record=max_record, limit=limit)
        self.quoting = quoting

    def check(self) -> None:
        """The way of quoting is all there is, and its annotation tells."""

    def scan(self, file: str) -> Lines:
        """A scanner of the dialect."""
        return super().scan(file) if self.quoting == "csv" else Lines(file, self.max_record)

    def cutter(self) -> Callable[[str], list[str]]:
        """By quotes and tabs, or by tabs alone."""
        return super().cutter() if self.quoting == "csv" else lambda text: text.split("\t")

    def misfit(self, text: str) -> str:
        """A record of several lines may be the work of stray quotes."""
        lines = text.count("\n") + 1
        return f"; quotes join {lines} lines here: if they are plain, source.quoting=none" if lines > 1 else ""
