"""The sample chain 橙屿集: a retailer's export as it would come, with invented names and numbers.

10 stores, 40 guides (recruiters form a tree), 2,000 members numbered 19900000001 and on,
40 SKUs and their stock per store. `stores.csv` is as Excel writes it: BOM and Windows line ends.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
FILES = tuple(FOLDER / f"{kind}.csv" for kind in ("stores", "guides", "members", "skus", "stock"))
