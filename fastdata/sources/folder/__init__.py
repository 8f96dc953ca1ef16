"""Class directories, and directories without classes."""
