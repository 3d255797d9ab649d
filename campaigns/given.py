"""What handlers are handed: one name for each part, marked as the framework wants it.

A handler's parameter has the name of the part (`db: TheDb`); `create_framework` gives it.
"""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from campaigns.board.service import Board
from campaigns.catalog import Catalog
from campaigns.claim.hot import HotClaims
from campaigns.fulfilment.codes import PickUpCodes
from campaigns.metrics import Metrics
from campaigns.payment.provider import PaymentProvider
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.room.service import Rooms
from campaigns.sign_in.codes import OneTimeCodes
from campaigns.team.open_list import OpenTeamList
from engine.db import Database
from engine.inventory import Inventory
from engine.room_tokens import RoomTokens
from engine.settings import Settings
from engine.teams import Teams
from engine.tokens import Access, TokenKeys
from engine.waiting import Waiting

Who = NamedDependency[Access]
Visitor = NamedDependency[Access | None]
TheSettings = NamedDependency[Settings]
TheDb = NamedDependency[Database]
TheInventory = NamedDependency[Inventory]
TheTeams = NamedDependency[Teams]
TheWaiting = NamedDependency[Waiting]
TheCatalog = NamedDependency[Catalog]
TheTokens = NamedDependency[TokenKeys]
ThePasswords = NamedDependency[Passwords]
ThePhones = NamedDependency[PhoneKeys]
TheCodes = NamedDependency[OneTimeCodes]
ThePickUpCodes = NamedDependency[PickUpCodes]
TheProvider = NamedDependency[SkipValidation[PaymentProvider]]
TheProviderName = NamedDependency[str]
TheMetrics = NamedDependency[Metrics]
TheHot = NamedDependency[HotClaims]
TheOpenTeams = NamedDependency[OpenTeamList]
TheBoard = NamedDependency[Board]
TheRooms = NamedDependency[Rooms]
TheRoomTokens = NamedDependency[RoomTokens]
