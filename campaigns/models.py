"""All tables in one import, so that migrations and their test see the whole schema."""

from campaigns.campaign import models as campaign
from campaigns.fulfilment import models as fulfilment
from campaigns.offer import models as offer
from campaigns.order import models as order
from campaigns.payment import models as payment
from campaigns.people import models as people
from campaigns.refund import models as refund
from campaigns.room import models as room
from campaigns.sku import models as sku
from campaigns.team import models as team
from campaigns.waiting import models as waiting
from engine import models as shard
from engine.db import Base
from engine.ledger import models as ledger

metadata = Base.metadata

__all__ = [
    "campaign",
    "fulfilment",
    "ledger",
    "metadata",
    "offer",
    "order",
    "payment",
    "people",
    "refund",
    "room",
    "shard",
    "sku",
    "team",
    "waiting",
]
