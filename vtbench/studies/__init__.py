"""Studies: a question and its factors become cells, cells become records, and nothing is lost on the way.

A *study file* (`study`) names arms by placeholders, is resolved against a base and the flags of the command
line (`resolution`), and becomes *cells*: one run of one arm with one seed (`cells`). A *ledger* (`ledger`)
knows which cells are done; an *executor* (`executor`, `executors`, `worker`) runs the others.
"""
