"""Floor 1, from files to batches: data YAML, images and labels in, `prunus.core.records.Batch` out.

`spec.read_data` reads the YAML, `index.build_index` the images' sizes and the labels, `loader`
makes batches: `validation_batches` letterboxes, `TrainingBatches` augments. Nothing here ever
writes to the user's data set.

Opens the table `prunus.data.formats.FORMATS`: a data format is one file there and its line.
"""
