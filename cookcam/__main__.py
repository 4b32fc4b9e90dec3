"""`python -m cookcam` is `cookcam`."""

from cookcam.cli import main

main(prog_name="cookcam")
