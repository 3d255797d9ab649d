"""A rush for the last seats of few teams: `locust -f loadtests/team_rush.py --plan FILE`.

Customers, statistics, history and result are those of flash_sale.py.
"""

from loadtests.flash_sale import Evening, Shopper
from loadtests.group_journey import RushJourney

__all__ = ["Evening", "Shopper"]  # Locust plays what it finds in this file

Shopper.journey = RushJourney
