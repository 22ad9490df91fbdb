"""The page stays small: what a person on a slow line waits for does not creep up unseen."""

from tests.bench_page.assets import BUILT, MOST_JAVASCRIPT, gzipped_javascript
from tests.support.missing import missing


def test_the_pages_javascript_is_at_most_90_kb_gzipped() -> None:
    if not any(BUILT.rglob("*.js")):
        missing("The page is not built.")
    assert gzipped_javascript() <= MOST_JAVASCRIPT
