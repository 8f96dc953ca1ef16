"""Parts that sources of archives share: grouped samples, their paths, their spans of a file."""
