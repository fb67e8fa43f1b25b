"""Near-duplicate search among small pictures: every pair, and by pivots."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from darkroom.components.ingestion import near_duplicates


def main(path: Path, exact: int) -> None:
    """Prints how long the search takes, looking at every pair up to ``exact`` pictures."""
    small = np.load(path)
    begin, used = time.monotonic(), time.process_time()
    first, second, _ = near_duplicates.pairs(small, exact)
    seconds, used = time.monotonic() - begin, time.process_time() - used
    pairs = sorted(zip(first.tolist(), second.tolist(), strict=True))
    print(json.dumps({"seconds": seconds, "processor_seconds": used, "pairs": pairs}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
