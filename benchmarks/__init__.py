"""How fast the library is, as ratios to the raw drivers doing the same by hand: ``make bench``."""
