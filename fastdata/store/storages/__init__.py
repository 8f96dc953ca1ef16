"""Storage formats behind one narrow interface: LMDB and HDF5."""
