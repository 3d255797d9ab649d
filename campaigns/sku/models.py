"""SKUs with their two reference prices, and what each store has of them."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Sku(Base):
    """The sellable unit; shelf price = 门店价, mall price = 商城价, floor price = 底价, all in fen.

    The floor price is the least that HQ must keep of a unit once everybody has their share; None:
    nothing was said.
    """

    __tablename__ = "skus"
    __table_args__ = (
        CheckConstraint("shelf_price_fen > 0 AND mall_price_fen > 0", name="skus_prices_positive"),
        CheckConstraint("floor_price_fen > 0", name="skus_floor_positive"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    shelf_price_fen: Mapped[int] = mapped_column(BigInteger)
    mall_price_fen: Mapped[int] = mapped_column(BigInteger)
    floor_price_fen: Mapped[int | None] = mapped_column(BigInteger)


class SkuStock(Base):
    """Units of a SKU in a store, as last imported."""

    __tablename__ = "sku_stock"
    __table_args__ = (CheckConstraint("units >= 0", name="sku_stock_not_negative"),)

    sku_id: Mapped[str] = mapped_column(ForeignKey("skus.id"), primary_key=True)
    store_id: Mapped[str] = mapped_column(ForeignKey("stores.id"), primary_key=True)
    units: Mapped[int] = mapped_column(BigInteger)
