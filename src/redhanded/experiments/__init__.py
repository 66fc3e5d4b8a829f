"""Experiments, from the ground up: runner, measure, cells, worlds, tables, claims, figures, pages.

`runner` measures a cell once; `measure` says how, `cells` what, `worlds` at what size. `tables` hold what the
paper prints, `claims` what it says, `figures` what it draws, and `pages` are what people read. A room imports
only rooms before it.
"""
