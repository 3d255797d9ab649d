"""The outermost layer: `kaituan …` commands, embedded servers, supervisor, demo."""
