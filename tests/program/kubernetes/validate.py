"""Every object against the schema of its kind in each version of Kubernetes, strictly: a key that is not there is wrong.

stdin: {"versions": ["1.29", …], "objects": [{…}, …]}. stdout: {"problems": ["…"], "checked": {"Kind version": NUMBER}}.
"""

import json
import sys

import kubernetes_validate

asked = json.load(sys.stdin)
problems, checked = [], {}
for version in asked["versions"]:
    for item in asked["objects"]:
        name = f"{item['kind']} {item['metadata']['name']}"
        try:
            kubernetes_validate.validate(item, version, strict=True)
            key = f"{item['kind']} {version}"
            checked[key] = checked.get(key, 0) + 1
        except kubernetes_validate.SchemaNotFoundError:
            continue
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{name} in {version}: {'.'.join(map(str, error.path))}: {error.message}")
json.dump({"problems": problems, "checked": checked}, sys.stdout)
