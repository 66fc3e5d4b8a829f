"""Images: the archive format, the paper's nine data sets, seeds, and a demo set that needs no download."""
