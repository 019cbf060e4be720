"""Tables and sizes as people read them on a terminal."""

from __future__ import annotations

NUMBERS = ("rows", "size", "ok", "done", "running", "failed", "waiting", "seconds", "jobs")


def table(rows: list[list[str]], header: list[str]) -> str:
    """Columns of equal width, those of `NUMBERS` to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def readable(size: float) -> str:
    """A size in bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def shape(sides: list[int]) -> str:
    return "×".join(map(str, sides))
