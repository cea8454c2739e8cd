"""FFmpeg and OpenCV, silenced: what they print is said again in one line of ours."""

import os

import cv2

VARIABLE, QUIET = "OPENCV_FFMPEG_LOGLEVEL", "-8"
"""FFmpeg's AV_LOG_QUIET. OpenCV reads it when the process first opens a video."""


def be_quiet() -> None:
    """Silence both, before a video is opened. Whoever sets the variable sees it all."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = QUIET
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
