"""Import end to end: all or nothing, twice is once, changes are dated."""

import asyncio

import pytest
from sqlalchemy import text

from campaigns.people.imports.service import ImportFile, ImportSummary, import_files
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.service import member_of_phone
from cli.sample import FILES
from engine.db import Database
from engine.errors import BadInput
from engine.settings import Settings

PHONES = PhoneKeys("a secret of the tests")
STORES = (
    "门店编号,门店名称,城市,地址,纬度,经度\n"
    "S1,一店,杭州,云路 1 号,30.1,120.1\nS2,二店,杭州,云路 2 号,30,120\n"
)
GUIDES = "工号,姓名,门店编号,推荐人工号\nG1,林一,S1,\nG2,林二,S1,G1\n"
MEMBERS = "会员编号,昵称,手机号,专属导购工号\nM1,小熊,19900000001,G1\nM2,月亮,199 0000 0002,\n"
SKUS = '商品编码,商品名称,门店价,商城价\nP1,曲奇,"¥1,299.00",1199.5\n'
STOCK = "商品编码,门店编号,库存\nP1,S1,12\n"
ALL = {"stores.csv": STORES, "guides.csv": GUIDES, "members.csv": MEMBERS, "skus.csv": SKUS}


def files_of(files: dict[str, str]) -> list[ImportFile]:
    return [ImportFile(name, content.encode()) for name, content in files.items()]


async def run(db: Database, files: dict[str, str], at_ms: int = 1_000) -> ImportSummary:
    return await import_files(db, Settings(), PHONES, files_of(files), actor="test", at_ms=at_ms)


async def rows(db: Database, sql: str) -> list[tuple[object, ...]]:
    async with db.begin() as session:
        return [tuple(row) for row in await session.execute(text(sql))]


async def refused(db: Database, files: dict[str, str]) -> list[str]:
    with pytest.raises(BadInput) as caught:
        await run(db, files)
    assert caught.value.code == "import_refused"
    problems = caught.value.extra["problems"]
    assert isinstance(problems, list)
    assert await rows(db, "SELECT 1 FROM stores UNION ALL SELECT 1 FROM skus") == []
    return problems


def counts(summary: ImportSummary) -> dict[str, tuple[int, int, int]]:
    return {k: (c.created, c.changed, c.unchanged) for k, c in summary.kinds.items()}


async def test_the_sample_chain_imports_and_a_second_time_changes_nothing(db: Database) -> None:
    files = [ImportFile(path.name, path.read_bytes()) for path in FILES]
    first = await import_files(db, Settings(), PHONES, files[::-1], actor="test")
    assert counts(first) == {
        "stores": (10, 0, 0),
        "guides": (40, 0, 0),
        "members": (2_000, 0, 0),
        "skus": (40, 0, 0),
        "stock": (400, 0, 0),
    }
    tables = "stores", "guides", "guide_terms", "members", "bindings", "skus", "sku_stock"
    before = [await rows(db, f"SELECT *, xmin::text FROM {t} ORDER BY 1, 2") for t in tables]
    again = await import_files(db, Settings(), PHONES, files, actor="test")
    assert again.written == 0
    assert [
        await rows(db, f"SELECT *, xmin::text FROM {t} ORDER BY 1, 2") for t in tables
    ] == before
    assert await rows(db, "SELECT actor, action FROM audit_log") == [("test", "import")]


async def test_a_floor_price_stays_when_a_file_leaves_it_out(db: Database) -> None:
    with_floor = "商品编码,商品名称,门店价,商城价,底价\nP1,曲奇,12,11,9.5\nP2,茶,12,11,\n"
    assert counts(await run(db, {"s.csv": with_floor})) == {"skus": (2, 0, 0)}
    floors = "SELECT id, floor_price_fen FROM skus ORDER BY id"
    assert await rows(db, floors) == [("P1", 950), ("P2", None)]
    without = "商品编码,商品名称,门店价,商城价\nP1,曲奇,12,11\n"
    assert counts(await run(db, {"s.csv": without})) == {"skus": (0, 0, 1)}
    assert counts(await run(db, {"s.csv": with_floor.replace("9.5", "9")})) == {"skus": (0, 1, 1)}
    assert await rows(db, floors) == [("P1", 900), ("P2", None)]


async def test_only_who_is_new_with_an_import_is_on_the_retailers_list(db: Database) -> None:
    joined = (await member_of_phone(db, PHONES, "19900000003")).member.id
    list_of_both = f"{MEMBERS}{joined},新名,199****0003,\n"
    summary = await run(db, {**ALL, "members.csv": list_of_both})
    assert counts(summary)["members"] == (2, 1, 0)
    assert await rows(db, "SELECT id, imported FROM members ORDER BY id") == [
        ("M1", True),
        ("M2", True),
        (joined, False),
    ]


async def test_values_arrive_exactly(db: Database) -> None:
    await run(db, {"stock.csv": STOCK, **ALL})
    assert await rows(db, "SELECT * FROM skus") == [("P1", "曲奇", 129_900, 119_950, None)]
    assert await rows(db, "SELECT * FROM sku_stock") == [("P1", "S1", 12)]
    assert await rows(db, "SELECT * FROM guide_terms ORDER BY 1") == [
        ("G1", 1_000, "S1", None),
        ("G2", 1_000, "S1", "G1"),
    ]
    assert await rows(db, "SELECT * FROM bindings") == [("M1", 1_000, "G1")]
    (found,) = await rows(db, "SELECT phone_hash, phone_cipher, phone_shown FROM members LIMIT 1")
    assert isinstance(found[0], str)
    assert isinstance(found[1], bytes)
    assert PHONES.open(found[0], found[1]) == "19900000001"
    assert found[2] == "199****0001"


async def test_a_change_of_guide_store_or_recruiter_appends_a_dated_row(db: Database) -> None:
    await run(db, ALL)
    moved = {
        "guides.csv": "工号,姓名,门店编号,推荐人工号\nG1,林一,S2,\nG2,林贰,S1,\n",
        "members.csv": MEMBERS.replace("19900000001,G1", "19900000001,G2"),
    }
    summary = await run(db, moved, at_ms=2_000)
    assert counts(summary) == {"guides": (0, 2, 0), "members": (0, 1, 1)}
    assert await rows(db, "SELECT * FROM guide_terms ORDER BY 1, 2") == [
        ("G1", 1_000, "S1", None),
        ("G1", 2_000, "S2", None),
        ("G2", 1_000, "S1", "G1"),
        ("G2", 2_000, "S1", None),
    ]
    assert await rows(db, "SELECT * FROM bindings ORDER BY 2") == [
        ("M1", 1_000, "G1"),
        ("M1", 2_000, "G2"),
    ]
    assert await rows(db, "SELECT name FROM guides ORDER BY id") == [("林一",), ("林贰",)]
    assert (await run(db, moved, at_ms=3_000)).written == 0
    # The same instant again, or a clock that was set back: still after the latest row.
    await run(db, {"members.csv": MEMBERS.replace(",G1", ",")}, at_ms=500)
    assert await rows(db, "SELECT * FROM bindings WHERE from_ms > 2000") == [("M1", 2_001, None)]


async def test_an_error_in_any_file_leaves_everything_as_it_was(db: Database) -> None:
    files = {**ALL, "members.csv": MEMBERS.replace("199 0000 0002", "1380013800")}
    assert await refused(db, files) == [
        'members.csv line 3, column 手机号: "1380013800" is not a mobile number (11 digits)'
    ]


async def test_references_are_checked_across_files_and_all_errors_are_listed(db: Database) -> None:
    files = {
        "m.csv": "member_id,nickname,phone,guide_id\nM1,a,19900000001,G9\nM1,b,19900000001,G1\n",
        "g.csv": "guide_id,name,store_id,recruiter_id\nG1,x,S1,G2\nG2,y,S7,G1\nG3,z,S1,G3\n",
        "s.csv": STORES + "S1,三店,杭州,x,91,120\n",
        "k.csv": "sku_id,store_id,units\nP1,S1,1\n",
    }
    assert await refused(db, files) == [
        's.csv line 4, column 纬度: "91" is not a latitude in degrees (-90 to 90)',
        "s.csv line 4, column 门店编号: stands already in line 2",
        "m.csv line 3, column member_id: stands already in line 2",
        "m.csv line 3, column phone: stands already in line 2",
        'g.csv line 3, column store_id: "S7" is no store of these files or of earlier imports',
        'm.csv line 2, column guide_id: "G9" is no guide of these files or of earlier imports',
        'k.csv line 2, column sku_id: "P1" is no SKU of these files or of earlier imports',
        "g.csv line 2, column recruiter_id: recruiters form a circle: G1 → G2 → G1",
        "g.csv line 4, column recruiter_id: recruiters form a circle: G3 → G3",
    ]


async def test_a_circle_through_earlier_imports_is_found(db: Database) -> None:
    await run(db, ALL)
    with pytest.raises(BadInput) as caught:
        await run(db, {"g.csv": "工号,姓名,门店编号,推荐人工号\nG1,林一,S1,G2\n"})
    assert "G1 → G2 → G1" in str(caught.value.extra["problems"])


async def test_numbers_may_be_swapped_but_not_shared(db: Database) -> None:
    await run(db, ALL)
    head = "会员编号,昵称,手机号,专属导购工号\n"
    swapped = head + "M1,小熊,19900000002,G1\nM2,月亮,19900000001,\n"
    assert counts(await run(db, {"m.csv": swapped})) == {"members": (0, 2, 0)}
    assert await rows(db, "SELECT id, phone_shown FROM members ORDER BY id") == [
        ("M1", "199****0002"),
        ("M2", "199****0001"),
    ]
    for line in ("M3,云,19900000001,", "M1,小熊,19900000001,G1", "M9,云,199****0009,"):
        with pytest.raises(BadInput) as caught:
            await run(db, {"m.csv": head + line})
        assert caught.value.extra["total"] == 1


async def test_the_list_of_problems_is_bounded_and_says_how_many_there_are(db: Database) -> None:
    many = "sku_id,store_id,units\n" + "".join(f"P{i},S1,x\n" for i in range(400))
    with pytest.raises(BadInput) as caught:
        await run(db, {"stock.csv": many})
    problems = caught.value.extra["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 50
    assert caught.value.extra["total"] == 1_200  # units, SKU and store of each row


async def test_size_and_rows_are_bounded(db: Database) -> None:
    small = Settings(import_rows_max=2, import_bytes_max=400)
    files = files_of({"stores.csv": STORES, "guides.csv": GUIDES})
    with pytest.raises(BadInput) as caught:
        await import_files(db, small, PHONES, files, actor="test")
    assert "more than 2 rows" in str(caught.value.extra["problems"])
    with pytest.raises(BadInput) as caught:
        await import_files(db, small, PHONES, [*files, files[0], files[0]], actor="test")
    assert "larger than 400 bytes" in str(caught.value.extra["problems"])


async def test_an_unreadable_file_does_not_drown_in_false_alarms(db: Database) -> None:
    given = files_of(ALL)
    given[1] = ImportFile("guides.csv", GUIDES.encode("gb18030"))
    with pytest.raises(BadInput) as caught:
        await import_files(db, Settings(), PHONES, given, actor="test")
    assert caught.value.extra["problems"] == [
        "guides.csv: is GBK, as Excel writes CSV by default, not UTF-8. "
        'Save it as "CSV UTF-8" and import it again.'
    ]


async def test_imports_at_the_same_time_take_turns(db: Database) -> None:
    summaries = await asyncio.gather(*[run(db, ALL) for _ in range(4)])
    assert sorted(summary.written for summary in summaries) == [0, 0, 0, 7]
    assert len(await rows(db, "SELECT 1 FROM guide_terms")) == 2
