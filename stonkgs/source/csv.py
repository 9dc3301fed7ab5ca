"""CSV with commas, or with semicolons as spreadsheets write it in countries with a decimal comma."""

from stonkgs.errors import UserError
from stonkgs.source.delimited import DelimitedSource
from stonkgs.source.text.quoted import delimiter_name


class CsvSource(DelimitedSource):
    """CSV with a header. There is no mode without quotes, as a sentence could then hold no comma."""

    remedy = 'a field that holds a quote is quoted itself, and the quote written twice: "a ""b"" c"'

    def check(self) -> None:
        """Raises UserError where the delimiter is not one ASCII character or has another meaning."""
        mark = self.delimiter
        if not isinstance(mark, str) or len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
            raise UserError(f"source.delimiter is {mark!r}; it is one ASCII character, and no quote or line's end")

    def misfit(self, text: str, delimiter: str) -> str:
        """Returns advice about unquoted delimiters or stray quotes."""
        lines = text.count("\n") + 1
        if lines > 1:
            return f"; quotes join {lines} lines here: is one misplaced?"
        return f"; quote the fields that hold a {delimiter_name(delimiter)}"
