"""The web pipeline's steps, each a file: what it looks at, its published thresholds, and the paper they are from."""
