"""The pages in a real Chromium over everything that `kaituan up` starts."""
