"""What `dialpad-ivr dev` and `demo` run on this machine: a Conductor server and a double of Dialpad."""
