"""Floor 0, what every room may use: errors, settings, records, boxes, files, run folders, console.

Knows nothing of detectors or data sets. Importing a room never imports torch by itself: the command
line reads settings before it pays for torch.
"""
