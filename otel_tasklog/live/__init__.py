"""The tasks that are alive: what each waits on, and who waits for it."""
