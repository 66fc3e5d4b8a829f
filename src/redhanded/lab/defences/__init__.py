"""Output defences: oracles that wrap an oracle of probabilities and alter what it gives away (§V-B, §V-C).

Every answer is a probability row again, so defences stack; `ArgmaxOf` on top makes the stack answer with hard
labels.
"""
