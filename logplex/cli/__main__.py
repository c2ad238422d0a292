"""
``python -m logplex.cli`` is the ``logplex`` command.
"""

from __future__ import annotations

from logplex.cli.main import main

if __name__ == "__main__":
    main()
