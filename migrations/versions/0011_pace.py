"""How fast the provider may be asked."""

from pathlib import Path

from alembic import context, op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("provider_pace",)


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0011_pace.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
    app = context.config.attributes["app_role"]
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(TABLES)} TO "{app}"')
