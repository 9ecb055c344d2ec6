"""The claims, one module each: ``options_into`` adds its options to a parser, ``measure`` returns its tables."""
