"""`compress`: one command, a target, and the proof.

`run` is the verb: adapt, the fair comparison, cuts that are tried, what ships, and what is told.
`effort` says how many epochs and attempts there are; `target` what is asked for and how it is
measured; `options` which further steps make the runtime faster; `search` which cut comes next;
`cutting` makes one, measured; `work` holds the stages that all of them share; `lineup` trains who
else stands in the table, and `ship` exports and times each; `verdict` says whether it paid; `tell`
writes table, picture and report. Every stage goes through `pipeline.chain`, so that a run
that was killed decides again as it had decided.
"""
