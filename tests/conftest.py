"""Every test works on tiny tensors: one thread each is fastest, and does not starve on a busy machine."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when PyTorch is first imported, and by child processes
