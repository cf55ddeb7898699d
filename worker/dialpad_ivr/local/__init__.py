"""The embedded default: what `dialpad-ivr dev` and `demo` start in place of a real engine and of Dialpad."""
