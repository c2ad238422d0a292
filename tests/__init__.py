# SPDX-License-Identifier: Apache-2.0

"""The tests of Logplex: in the folders of the code, and with real processes in ``integration``."""

from contextlib import suppress

# The benchmark uses parts of the tests, and works without Hypothesis.
with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # A busy machine is no reason to fail.
    settings.register_profile(
        "logplex", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("logplex")
