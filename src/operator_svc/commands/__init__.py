"""The commands of ``operator-svc``; ``operator_svc.cli`` lists them and imports them by need."""
