"""A crowd that climbs its ladder: `locust -f loadtests/crowd_threshold.py --plan FILE`.

Customers, statistics, history and result are those of flash_sale.py.
"""

from loadtests.flash_sale import Evening, Shopper
from loadtests.group_journey import CrowdJourney

__all__ = ["Evening", "Shopper"]  # Locust plays what it finds in this file

Shopper.journey = CrowdJourney
