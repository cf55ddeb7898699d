"""`python -m dialpad_ivr.local.double`."""

from dialpad_ivr.local.double.server import main

main()
