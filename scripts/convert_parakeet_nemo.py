"""Turn a .nemo archive of Parakeet TDT into a directory that `model.path` takes; needs no NeMo.

python scripts/convert_parakeet_nemo.py parakeet-tdt-1.1b.nemo converted/parakeet-tdt-1.1b
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qasr_train.errors import UserError
from qasr_train.models.parakeet_tdt.nemo import convert_nemo


def main() -> int:
    """Convert; 2 after a mistake of the user's, which is one sentence on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="the .nemo file")
    parser.add_argument("folder", type=Path, help="where the directory is written")
    given = parser.parse_args()
    try:
        convert_nemo(given.archive, given.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.folder}: written; evaluate it with model=parakeet_tdt_1.1b model.path={given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
