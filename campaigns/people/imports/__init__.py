"""Import of a retailer's own CSV exports: all files or nothing, and each error with its place."""
