"""Run the command line: `python -m gradlab`."""

from gradlab.cli.main import main

raise SystemExit(main())
