"""Slides a window over the bytes of a text file."""

from stonkgs.source.file import BLOCK, file_errors, open_bytes
from stonkgs.source.text.signatures import HEAD, check_text

BOM = b"\xef\xbb\xbf"


class Cursor:
    """A window that slides forward over a file's (decompressed) bytes. All positions are offsets in the file.

    It can move back, too, which makes a packed file start over. Raises UserError where the file is no text.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.stream = open_bytes(file)
        self.base, self.data, self.ended = 0, b"", False
        with file_errors(file):
            check_text(file, self.stream.peek(HEAD)[:HEAD])
            head = self.stream.read(len(BOM))
        #: Offset of the first byte of text, behind the byte order mark if there is one.
        self.text = len(BOM) if head == BOM else 0
        self.data = head

    @property
    def end(self) -> int:
        """Returns the offset past the window's last byte, which is the file's size once `ended`."""
        return self.base + len(self.data)

    def fill(self, keep: int) -> None:
        """Read another block, and drop what lies before `keep`."""
        kept = self.data[keep - self.base :]
        with file_errors(self.file):
            # Large windows grow by a quarter, so that the time for copying stays in proportion to the bytes read.
            block = self.stream.read(max(BLOCK, len(kept) // 4))
        self.base, self.data, self.ended = keep, kept + block, not block

    def seek(self, offset: int) -> None:
        """Move the window so that it holds or begins at this offset."""
        if self.base <= offset <= self.end:
            return
        with file_errors(self.file):
            self.stream.seek(offset)
        self.base, self.data, self.ended = offset, b"", False

    def next_line(self, offset: int, stop: int) -> int:
        """Returns where the first line after `offset` starts, at most `stop` or the file's end.

        Reads a block at a time and not past `stop`. The byte before `stop` stays in the window.
        """
        while offset < stop - 1:
            found = self.data.find(b"\n", offset - self.base, stop - 1 - self.base)
            if found >= 0:
                return self.base + found + 1
            offset = min(self.end, stop - 1)
            if offset == self.end:
                if self.ended:
                    return offset
                self.fill(offset)
        return stop

    def close(self) -> None:
        """Close the file."""
        self.stream.close()

    def __del__(self) -> None:
        if "stream" in self.__dict__:
            self.close()
