"""How signatures are checked in tests: an int is a float, as Python's type system has it."""
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
