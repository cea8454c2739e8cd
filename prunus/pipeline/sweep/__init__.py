"""`sweep`: many prunings on many workers → one table, the Pareto front, and the best of them.

In: weights, a data set and axes (`config`). `plan` makes points of them, or `search` proposes some;
`drive` hands each as a job, plain JSON and files, to the workers that `local` or `cluster` keep;
`trial` runs one: prune, fine-tune, judge, time, each a verb with a folder of its own. `table` keeps
what came back, a row a trial, written by the driver alone. Out: `sweep.sqlite`, `sweep.csv`,
`pareto.png` and `front` in the report; `best` reads such a folder for whoever wants to go on.
"""
