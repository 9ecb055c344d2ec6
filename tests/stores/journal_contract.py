"""The promises of every journal, as one suite that each of them runs."""
