"""Tests of :mod:`actors.stores.sqlite`."""
