"""TensorBoard's file of events, written here and now.

Torch's writer hands events to a thread, which forked loaders would inherit and whose errors come
late or never.
"""

import time
from pathlib import Path
from typing import Any, BinaryIO


class Events:
    """One file of events, made with the first of them."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        """Prepare; what other files hold of `first_epoch` and later is of no account any more."""
        self._folder, self._first_epoch = folder, first_epoch
        self._file: BinaryIO | None = None

    def add(self, summary: Any, epoch: int) -> None:
        """Write a summary, as `torch.utils.tensorboard.summary` makes them.

        Raises:
            OSError: The file cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        if self._file is None:
            self._file = self._open()
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            if self._first_epoch:
                start = SessionLog(status=SessionLog.START)
                self._write(Event(wall_time=time.time(), step=self._first_epoch, session_log=start))
        self._write(Event(wall_time=time.time(), step=epoch, summary=summary))

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        number = 0
        while True:
            name = f"events.out.tfevents.{int(time.time())}.prunus.{number}"
            try:
                return (self._folder / name).open("xb", buffering=0)
            except FileExistsError:
                number += 1

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        RecordWriter(self._file).write(event.SerializeToString())
