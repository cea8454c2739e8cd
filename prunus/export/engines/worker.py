"""The process of its own that an engine runs in.

Started by `child`. Told in JSON over a socket, for nothing that comes from a process that has run a
foreign file may be unpickled; arrays lie in shared files.
"""

import json
import re
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from prunus.core.errors import PrunusError
from prunus.export.engines import EngineError, Options, plain, start_engine
from prunus.export.engines.shared import SharedArray


def main(socket: int, pictures: int, candidates: int) -> None:
    """Start the engine that the socket names, and run it on what lies in `pictures`."""
    connection = Connection(socket)
    given, result = SharedArray(pictures), SharedArray(candidates)
    order = json.loads(connection.recv_bytes())
    _limit_memory(order["memory_bytes"])
    content = [connection.recv_bytes() for _ in range(order["files"])]
    try:
        engine = start_engine(order["engine"], content, Options(**order["options"]))
        connection.send_bytes(b"{}")
        while True:
            shape = json.loads(connection.recv_bytes())
            images = given.read(shape, np.uint8)
            wall, own = time.perf_counter(), time.process_time()
            found = engine(images.view())  # type: ignore[arg-type]  # uint8, as read
            answer = {
                "wall_ms": (time.perf_counter() - wall) * 1e3,
                "own_ms": (time.process_time() - own) * 1e3,
                "shape": found.shape,
                "peak_bytes": _peak_bytes(),
            }
            result.write(found)
            connection.send_bytes(json.dumps(answer).encode())
    except (EngineError, PrunusError, ImportError) as error:
        connection.send_bytes(json.dumps({"error": plain(str(error))}).encode())
    except MemoryError:
        connection.send_bytes(json.dumps({"error": "it needs more memory than there is"}).encode())
    except (EOFError, ConnectionError):
        return  # the parent has all it wanted


def _limit_memory(size: int) -> None:
    """Let this process have so many bytes: a graph that inflates itself ends itself only."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _peak_bytes() -> int:
    """Return the largest resident size so far.

    Linux tells it in /proc, too; there `getrusage` also counts what the parent had when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if match:
            return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
