"""The version, for those who may not import the package's doors."""

VERSION = "0.1.0"
