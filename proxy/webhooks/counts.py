"""What the HTTP process counts of events: merged into the metrics of the instance."""

from __future__ import annotations

from typing import Final

from config.webhooks import EVENTS

RESULTS: Final = ("delivered", "failed", "refused", "dead", "gone")
"""A try that was answered with 2xx; one that was not; one that led where nothing is sent to; a delivery that
was given up; one that gave way to newer ones."""

Samples = dict[str, list[tuple[list[str], float]]]


class Counts:
    """Labels are of closed sets."""

    def __init__(self) -> None:
        self.events = dict.fromkeys(EVENTS, 0)
        self.deliveries = dict.fromkeys(RESULTS, 0)
        self.waiting = 0
        self.dead = 0

    def samples(self) -> Samples:
        return {
            "trunkwarden_webhook_events_total": [([name], count) for name, count in self.events.items()],
            "trunkwarden_webhook_deliveries_total": [
                ([name], count) for name, count in self.deliveries.items()
            ],
            "trunkwarden_webhook_waiting": [([], self.waiting)],
            "trunkwarden_webhook_dead_letters": [([], self.dead)],
        }
