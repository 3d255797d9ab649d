"""Group buys: teams, their commands, seats of orders, and the fen an order was split on."""

from pathlib import Path

from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("teams", "team_commands")


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0004_teams.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
    app = context.config.attributes["app_role"]
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(TABLES)} TO "{app}"')
