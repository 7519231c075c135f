"""The call: what happens on the application's thread. Never waits, never raises."""
