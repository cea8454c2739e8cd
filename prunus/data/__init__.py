"""Floor 1, from files to batches: data YAML, images and labels in, `prunus.core.records.Batch` out.

`spec.read_data` reads the YAML, `index.build_index` the images' sizes and the labels, `loader`
makes batches: `validation_batches` letterboxes, `TrainingBatches` augments. Nothing here ever
writes to the user's data set.

`files` reads what lies on the disk or in a tar shard alike; `review` is what `prunus data check`
looks at beyond single boxes; `convert` writes a data set anew in another format. `rules.RULES` is
the list of everything that can be wrong, and of what happens then.

Opens the tables `formats.FORMATS` (to read) and `convert.TARGETS` (to write): one file, one line.
"""
