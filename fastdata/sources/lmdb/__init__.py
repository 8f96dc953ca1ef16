"""LMDB files of encoded images that other programs have written."""
