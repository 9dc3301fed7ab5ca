"""Arrow tables as files, written and read in one place.

A format is a class in a module of this folder: `tsv`, `jsonl`, `parquet`. The writers of predictions use it, and
`stonkgs aggregate`, which finds it by the ending of a file's name (`formats`). `values` and `types` say what a format
cannot hold.
"""
