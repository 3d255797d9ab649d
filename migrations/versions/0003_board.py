"""The board: orders and refunds found by their times."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0003_board.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
