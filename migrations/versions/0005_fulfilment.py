"""After forming: pick-ups."""

from pathlib import Path

from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("pick_ups",)


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0005_fulfilment.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
    app = context.config.attributes["app_role"]
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(TABLES)} TO "{app}"')
