"""Switch's configuration and the engines behind it."""
