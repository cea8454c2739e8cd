"""What `prunus data check` looks at beyond single boxes: balance, sizes, strays, pictures alike.

In: a `DataSpec` and the `ImageIndex` of each split. Out: plain facts, and `Problem`s like those of
the index. Nothing here changes the data set.
"""
