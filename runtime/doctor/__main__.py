"""``python -m dagger_edge.runtime.doctor [BUNDLE]``: the doctor where click, and so the command line, is missing."""

from __future__ import annotations

import sys
from pathlib import Path

from .examination import examine

if __name__ == "__main__":
    report = examine(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    sys.stdout.write("\n".join([*report.lines(), ""]))
    sys.exit(report.exit_code)
