"""Fields from columns of text or of Python values."""
