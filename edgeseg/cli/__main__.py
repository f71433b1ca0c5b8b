"""`python -m edgeseg.cli`."""

from edgeseg.cli import main

raise SystemExit(main())
