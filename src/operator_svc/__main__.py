"""``python -m operator_svc`` is ``operator-svc``."""

from operator_svc.cli import main

main()
