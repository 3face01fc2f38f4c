"""Questions for calibration by the demo's generator: ours, and as many as are asked for.

python -m dagger_edge.export.demo.calibration COUNT    # rows of export/data/calibration.jsonl
"""

from __future__ import annotations

import json
import random
import sys

from .compose import Composer
from .shapes import SHAPES


def generated_rows(count: int) -> list[str]:
    """JSON lines of ``count`` questions, each of another shape; always the same."""
    rng = random.Random("calibration")
    problems = [Composer(rng).compose(shape) for shape in rng.sample(SHAPES, len(SHAPES))[:count]]
    rows = ({"set": "generated", "row_index": index, "question": item.question} for index, item in enumerate(problems))
    return [json.dumps(row, ensure_ascii=False) for row in rows]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{row}\n" for row in generated_rows(int(sys.argv[1]))))
