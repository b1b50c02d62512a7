"""Judge files by CELLxGENE's validator; run by the Python that has it.

python judge.py FILE …      prints the errors of each as JSON
"""

import json
import sys

from cellxgene_schema.validate import validate

json.dump({path: validate(path)[1] for path in sys.argv[1:]}, sys.stdout)
