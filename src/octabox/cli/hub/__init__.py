"""Commands for models of the Hub; each module with a function ``command`` is one."""
