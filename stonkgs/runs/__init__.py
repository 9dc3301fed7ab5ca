"""The files of a run on disk: its plan, its parts with their accounts, and its record. See README.md here."""
