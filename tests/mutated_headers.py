"""Read many mutated GGUF headers in a process whose memory and time are limited.

`python tests/mutated_headers.py GGUF COUNT` prints one JSON object: `refused`, `slowest` in seconds, and `largest`, the
most bytes that one reading held at once (measured on every tenth). A crash, a hang or an allocation beyond the limits
ends the process.
"""

import json
import random
import resource
import sys
import time
import tracemalloc
from pathlib import Path

from tunesmith.tools.base import BadRequest
from tunesmith.tools.gguf_header import read_header

_SPARE_BYTES = 32 * 2**20
_CPU_SECONDS = 120


def main(path: Path, count: int) -> dict[str, float]:
    """Mutate the header of a copy of `path`, in place, `count` times."""
    whole = path.read_bytes()
    head = read_header(path).data_offset
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    draw = random.Random(11)
    copy = path.with_suffix(".mutated")
    copy.write_bytes(whole)
    refused, slowest, largest = 0, 0.0, 0
    with copy.open("r+b", buffering=0) as stream:
        for number in range(count):
            places = [draw.randrange(head) for _ in range(draw.choice((1, 2, 8)))]
            for place in places:
                width = draw.choice((1, 1, 4, 8))  # a byte, or a count, length or offset of any size
                stream.seek(place)
                stream.write(draw.choice((bytes(width), b"\xff" * width, draw.randbytes(width))))
            if number % 7 == 0:
                stream.truncate(draw.randrange(len(whole)))
            watched = number % 10 == 0
            if watched:
                tracemalloc.start()
            started = time.perf_counter()
            try:
                read_header(copy)
            except BadRequest:
                refused += 1
            slowest = max(slowest, time.perf_counter() - started)
            if watched:
                largest = max(largest, tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            stream.seek(0)
            stream.write(whole if number % 7 == 0 else whole[: head + 8])
    return {"refused": refused, "slowest": slowest, "largest": largest}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
