"""2. Statement -> Example: a file an input that an architecture may ask for.

To add one: a subclass of `Input` in a file here, an architecture in `stonkgs/model/` whose `inputs` names it and whose
`pooled` reads its tensors, that one's name in `stonkgs/model/config.py`, its yaml, and a test.
"""
