"""2. Statement -> Example. Each input that an architecture may read has a file here.

To add one, write a subclass of `Input` here; an architecture in `stonkgs/model/` whose `inputs` names it and whose
`pooled` reads its tensors; its yaml; and a test.
"""
