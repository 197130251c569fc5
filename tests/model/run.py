"""Runs the rule machine: so many examples, by a seed or at random."""

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import UsageMachine

STEPS = 40


def explore(examples, *, build=None, random_seed=None, shrink=True):
    """Raises what the machine found, with the rules that lead there."""
    made = type("Machine", (UsageMachine,), {"build": build})
    if random_seed is not None:
        seed(random_seed)(made)
    phases = tuple(settings.default.phases) if shrink else tuple(settings.default.phases)[:3]
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
