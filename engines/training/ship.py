"""Write into the code which bundle ships, by the digest of its manifest: that one is trusted without a signature.

python -m engines.training.ship       # bundles/default as it is now (`make ship`); `make bundle` does so by itself
"""

from __future__ import annotations

import re
from pathlib import Path

from engines import shipped
from engines.bundle import DEFAULT, Bundle

_DIGEST = re.compile(r'(MANIFEST_SHA256 = ")[0-9a-f]*"')


def ship(code: Path = Path(shipped.__file__), bundle: Path = DEFAULT) -> str:
    """Write the digest of a bundle, which has to be whole, into the module ``code``, and return it."""
    digest = Bundle.load(bundle).digest
    code.write_text(_DIGEST.sub(rf'\g<1>{digest}"', code.read_text()))
    return digest


if __name__ == "__main__":
    print(f"{DEFAULT}: {ship()}")
