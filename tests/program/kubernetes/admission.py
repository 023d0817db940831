"""What a MutatingAdmissionPolicy and a ValidatingAdmissionPolicy make of a pod, without an API server.

stdin: {"mutating": …, "validating": …, "pod": …}, the policies as objects. stdout: {"pod": …} or {"refused": MESSAGE}.

The expressions are evaluated by Google's own CEL (cel-expr-python), the patches are applied by jsonpatch. Three things are done here as the API
server does them, since no package has them: its constructors `JSONPatch{…}` and `Object.….{…}` become maps, after a check that the name of each
constructor is the path of the field that it stands in; its function `indexOf` of lists (here of names); and between two mutations the pod goes through the types of
Kubernetes, which have no empty lists.
"""

import json
import re
import sys

import jsonpatch
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?:JSONPatch|Object(?:\.\w+)*)\s*\{|\w+|\S|\s+')


def index_of(names, name):
    return names.index(name) if name in names else -1


INDEX_OF = cel.FunctionDecl("indexOf", [cel.Overload(
    "list_index_of", return_type=cel.Type.INT, parameters=[cel.Type.LIST, cel.Type.STRING], is_member=True, impl=index_of)])
ENVIRONMENT = cel.NewEnv(
    variables={"object": cel.Type.DYN, "variables": cel.Type.DYN},
    extensions=[ext_optional.ExtOptional()], functions=[INDEX_OF])


def without_constructors(expression):
    """The same expression with maps in place of the constructors of the API server."""
    tokens = TOKEN.findall(expression)
    assert "".join(tokens) == expression, "a character was lost"
    result, braces, previous = [], [], ""
    for place, token in enumerate(tokens):
        following = next((each for each in tokens[place + 1:] if not each.isspace()), "")
        if token.endswith("{") and len(token) > 1:
            name = token[:-1].strip()
            outer, field = braces[-1] if braces else ("", "")
            if outer.startswith("Object"):
                assert name == f"{outer}.{field}", f"{name} stands in the field {field} of {outer}"
            braces.append([name, ""])
            result.append("{")
        elif token == "{":
            braces.append(["", ""])
            result.append(token)
        elif token == "}":
            braces.pop()
            result.append(token)
        elif braces and braces[-1][0] and previous in ("{", ",") and following == ":":
            braces[-1][1] = token
            result.append(f'"{token}"')
        else:
            result.append(token)
        if not token.isspace():
            previous = "{" if token.endswith("{") else token
    assert not braces
    return "".join(result)


def evaluate(expression, pod, variables):
    value = ENVIRONMENT.compile(without_constructors(expression)).eval(data={"object": pod, "variables": variables})
    if value.type() in (cel.Type.ERROR, cel.Type.UNKNOWN):
        raise ValueError(f"{value.value()} in: {expression}")
    return value.plain_value()


def variables_of(policy, pod):
    variables = {}
    for variable in policy["spec"].get("variables", []):
        variables[variable["name"]] = evaluate(variable["expression"], pod, variables)
    return variables


def typed(value):
    """As Kubernetes' types give it back."""
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items() if each != []}
    return [typed(each) for each in value] if isinstance(value, list) else value


def is_asked(policy, pod):
    wanted = policy["spec"]["matchConstraints"]["objectSelector"]["matchLabels"]
    labels = pod["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


def admitted(mutating, validating, pod):
    if mutating and is_asked(mutating, pod):
        for mutation in mutating["spec"]["mutations"]:
            patch = evaluate(mutation["jsonPatch"]["expression"], pod, variables_of(mutating, pod))
            pod = typed(jsonpatch.apply_patch(pod, patch))
    if validating and is_asked(validating, pod):
        variables = variables_of(validating, pod)
        for validation in validating["spec"]["validations"]:
            if evaluate(validation["expression"], pod, variables) is not True:
                return {"refused": validation["message"]}
    return {"pod": pod}


asked = json.load(sys.stdin)
json.dump(admitted(asked["mutating"], asked["validating"], asked["pod"]), sys.stdout)
