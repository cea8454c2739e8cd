"""Networks to prune: blocks written here, and models that nobody here wrote."""
