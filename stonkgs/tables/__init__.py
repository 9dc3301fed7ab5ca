"""Arrow tables as files, written and read in one place.

A format is a class in a module of this folder: `tsv`, `jsonl`, `parquet`, `arrow`. The writers use one each;
`stonkgs aggregate` looks one up by the ending of a file's name (`formats`). `types` and `values` deal with what Arrow,
Python and text cannot all express.
"""
