"""Generated multi-turn Python programs: what the built-in models learn to write, turn by turn.

    from polyturn.curriculum.compose import copy_program, program

    program(seed=1, index=7).turns      # the same program wherever and whenever it is asked for

`families/` holds what programs do, as tables of phrases and code; `moves.py` makes turns of them and
`compose.py` programs of the turns; `verify.py` runs programs in the sandbox, `corpus.py` writes what is left, less
what held-out texts hold too; `heldout.py` says what training never sees.
"""
