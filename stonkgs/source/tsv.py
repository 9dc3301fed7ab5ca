"""TSV, with quoted fields as pandas and spreadsheets write them, or with quotes as ordinary characters."""

from collections.abc import Callable, Mapping
from typing import Literal

from stonkgs.config.values import Count, checked
from stonkgs.errors import UserError
from stonkgs.source.base import Limit
from stonkgs.source.delimited import DelimitedSource
from stonkgs.source.file import Paths
from stonkgs.source.text.quoted import delimiter_name
from stonkgs.source.text.records import Lines


class TsvSource(DelimitedSource):
    """TSV with a header. With quoting="none" a quote is an ordinary character, and each line is a record."""

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

    def scanner(self, file: str, delimiter: str) -> Lines:
        """Returns a scanner of quoted fields, or of lines. Raises UserError where the file names another delimiter."""
        if delimiter != self.delimiter:
            raise UserError(f"{file}: its first line names the {delimiter_name(delimiter)} as delimiter: source=csv")
        return super().scanner(file, delimiter) if self.quoting == "csv" else Lines(file, self.max_record)

    def cutter(self, scanner: Lines) -> Callable[[str], list[str]]:
        """Returns a function that splits a record at tabs, with or without regard to quotes."""
        return super().cutter(scanner) if self.quoting == "csv" else lambda text: text.split("\t")

    def misfit(self, text: str, delimiter: str) -> str:
        """Returns advice where a record has several lines, which stray quotes may have joined."""
        lines = text.count("\n") + 1
        return f"; quotes join {lines} lines here: if they are plain, source.quoting=none" if lines > 1 else ""
