"""Kill -9 under load, again and again, with a checker that knows every acknowledged write.

    python -m tests.soak --kills 500 --database sqlite

`ledger` knows what may be there, `people` makes the load, `cluster` runs and kills real processes, `kills` is the loop.
`tests/recovery` runs it for a minute; `make soak` for as long as one likes.
"""
