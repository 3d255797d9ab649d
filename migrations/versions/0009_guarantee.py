"""The upgrade guarantee: which formed crowds still owe their difference to other orders."""

from pathlib import Path

from alembic import context, op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES: tuple[str, ...] = ()


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0009_guarantee.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
    app = context.config.attributes["app_role"]
    if TABLES:
        op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(TABLES)} TO "{app}"')
