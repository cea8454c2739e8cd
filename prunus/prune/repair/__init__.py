"""Repair without training: a cut network made to say again what the dense one said.

`constants` (exact where a channel said the same whatever the image), `carrier` (the same, with the
borders of zero-padded layers), `ridge` (each layer solved anew), `walk` (once more in order, from
what the cut network itself hands on), `batch_norm` (statistics taken anew). `choose` tries the last
three on images that none of them was fitted to (`judge`), and keeps what helps.
"""
