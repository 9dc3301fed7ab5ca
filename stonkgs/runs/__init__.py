"""What a run leaves on the disk, and goes on from: its plan, its parts, their accounts, its record. See README.md."""
