"""Where records are kept and asked for."""
