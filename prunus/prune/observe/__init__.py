"""What a network's layers see and say on calibration images: the raw material of choice and repair.

In: a network and a `evidence.Calibration`; out: `observation.Observation`, for some places of each
layer what its dense self puts out there and how much that matters; and `moments.Moments`, sums over
the inputs at these places, from which regressions are solved.
"""
