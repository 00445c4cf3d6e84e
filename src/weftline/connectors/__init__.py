"""Ways in and out: one folder each, the same file names in each, `base.py` as the whole extension surface."""
