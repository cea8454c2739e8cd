"""Floor 4, data and a detector in, a better detector out.

Takes a `Detector` and two `ImageIndex` records, writes a run folder (last and best weights,
state.pt to resume from, results.csv, TensorBoard events) and returns a `TrainResult`. The door is
`train.run`; one epoch is `train.engine`; the rest are its parts: optimizer, schedule, ema, freeze,
sparsity (gammas), masks (weights), anchors, checkpoint, logs. The presets of hyperparameters are
the YAML files in `train/hyps`: a file put there is a new preset. The open table is
`regularisers.REGULARISERS`: how gammas are pulled to zero.
"""
