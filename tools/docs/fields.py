"""What the sidecar's loader does with each field of its contracts: asked of the loader, defaults and ranges read from its source."""
import copy
import glob
import json
import os
import re
import subprocess
import tempfile
import threading
from concurrent import futures

from google.protobuf import descriptor_pb2 as pb

from base import BASE, SAMPLES

ROOT_TYPE = "envoy.config.bootstrap.v3.Bootstrap"
F = pb.FieldDescriptorProto
LEAVES = {"google.protobuf.Duration": "duration", "google.protobuf.UInt32Value": "number", "google.protobuf.UInt64Value": "number",
          "google.protobuf.BoolValue": "bool", "google.protobuf.Any": "any", "google.protobuf.Struct": "any JSON",
          "google.protobuf.DoubleValue": "number"}
SCALARS = {F.TYPE_STRING: ("text", "x"), F.TYPE_BOOL: ("bool", True), F.TYPE_BYTES: ("bytes", "eA==")}


class Message:
    def __init__(self, name, file, proto, comment):
        self.name, self.file, self.proto, self.comment = name, file, proto, comment
        self.fields = []  # (FieldDescriptorProto, comment)


def clean(text):
    return " ".join(text.split())


def read_contracts(root):
    """All messages and enums of the contracts a bootstrap is made of."""
    names = sorted(os.path.relpath(p, root + "/proto") for p in glob.glob(root + "/proto/envoy/**/*.proto", recursive=True))
    names += ["weft/sidecar/v1/balancing.proto", "weft/sidecar/v1/service.proto", "xds/core/v3/extension.proto"]
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", "-I", root + "/proto", "-I", "/usr/include", "--include_source_info",
                        "--descriptor_set_out=" + out.name, *names], check=True)
        files = pb.FileDescriptorSet.FromString(out.read()).file
    messages, enums = {}, {}
    for file in files:
        comments = {tuple(l.path): clean(l.leading_comments) for l in file.source_code_info.location}

        def take(scope, path, message):
            name = scope + "." + message.name
            one = messages[name] = Message(name, file.name, message, comments.get(path, ""))
            one.fields = [(f, comments.get(path + (2, i), "")) for i, f in enumerate(message.field)]
            for i, nested in enumerate(message.nested_type):
                take(name, path + (3, i), nested)
            for enum in message.enum_type:
                enums[name + "." + enum.name] = [v.name for v in enum.value]

        for i, message in enumerate(file.message_type):
            take(file.package, (4, i), message)
        for enum in file.enum_type:
            enums[file.package + "." + enum.name] = [v.name for v in enum.value]
    return messages, enums


# ---- where in BASE each message is

def places(messages):
    """Message name → paths (tuples of keys) of its instances in BASE, in reading order."""
    found = {}

    def walk(name, value, path):
        found.setdefault(name, []).append(path)
        for field, _ in messages[name].fields:
            if field.name not in value:
                continue
            kind = field.type_name.lstrip(".")
            held = value[field.name]
            if field.label == F.LABEL_REPEATED and isinstance(held, list):
                items = [(i, v) for i, v in enumerate(held)]
            elif kind in messages and messages[kind].proto.options.map_entry:
                kind = messages[kind].proto.field[1].type_name.lstrip(".")
                items = list(held.items())
            else:
                items = [(None, held)]
            for key, item in items:
                at = path + (field.name,) + (() if key is None else (key,))
                if kind == "google.protobuf.Any":
                    walk(item["@type"].split("/")[1], item, at)
                elif kind in messages:
                    walk(kind, item, at)

    walk(ROOT_TYPE, BASE, ())
    return found


# ---- asking the loader

class Loader:
    def __init__(self, build, folder):
        self.program, self.folder = build + "/bin/weft-sidecar", folder
        subprocess.run([build + "/bin/weft", "dev-certs", "--out", folder, "-n", "shop", "order"], check=True, capture_output=True)
        problems = self.ask(BASE)
        if problems:
            raise SystemExit("docs: tools/docs/base.py is refused:\n" + "\n".join(problems))

    def ask(self, document):
        name = "probe-%d.json" % threading.get_ident()
        with open(self.folder + "/" + name, "w", encoding="utf-8") as out:
            json.dump(document, out)
        done = subprocess.run([self.program, "-c", name, "--check"], cwd=self.folder, capture_output=True, text=True, check=False)
        return done.stderr.splitlines()


def with_field(path, message, field, value):
    """BASE with that field set in the message at path; other arms of its oneof give way."""
    document = copy.deepcopy(BASE)
    at = document
    for key in path:
        at = at[key]
    if field.HasField("oneof_index"):
        for other, _ in message.fields:
            if other.HasField("oneof_index") and other.oneof_index == field.oneof_index:
                at.pop(other.name, None)
    at[field.name] = value
    return document


def spelled(path):
    text = ""
    for key in path:
        if isinstance(key, int):
            text += "[%d]" % key
        elif re.fullmatch(r"\w+", key):
            text += ("." if text else "") + key
        else:
            text += '["%s"]' % key
    return text


def sample(field, enums, messages):
    kind = field.type_name.lstrip(".")
    if field.name in SAMPLES:
        return SAMPLES[field.name]
    if field.type in SCALARS:
        value = SCALARS[field.type][1]
    elif field.type == F.TYPE_ENUM:
        value = enums[kind][0]
    elif field.type != F.TYPE_MESSAGE:
        value = 7
    elif LEAVES.get(kind) == "duration":
        value = "5s"
    elif LEAVES.get(kind) == "number":
        value = 7
    elif LEAVES.get(kind) == "bool":
        value = True
    else:
        value = {}
    is_map = kind in messages and messages[kind].proto.options.map_entry
    return [value] if field.label == F.LABEL_REPEATED and not is_map else value


def refusal(problems, path):
    """The reason, if a problem with exactly that place says that it is not supported (or must not be there)."""
    for line in problems:
        _, _, text = line.partition(": " + path + ": ")
        if any(words in text for words in ("not supported", "no effect", "only files", "not of type", "contradicts lb_policy", "is spoken")):
            return text
    return None


def refused_at(loader, path, message, field, value):
    problems = loader.ask(with_field(path, message, field, value))
    at = spelled(path + (field.name,))
    reason = refusal(problems, at) or refusal(problems, at + "[0]")
    return reason or (field.HasField("oneof_index") and refusal(problems, spelled(path)))


def judge(loader, messages, enums, found):
    """(message, field) → reason of refusal; (message, field, value) for values of enums."""
    def of_message(name):
        message, paths, refused = messages[name], found[name], {}
        for field, _ in message.fields:
            holders = [p for p in paths if field.name in get(p)]
            if not holders:
                value = sample(field, enums, messages)
                reasons = [refused_at(loader, p, message, field, value) for p in paths]
                if all(reasons):
                    refused[name, field.name] = reasons[0]
                    continue
            if field.type == F.TYPE_ENUM:
                place = (holders or paths)[0]
                for value in enums[field.type_name.lstrip(".")]:
                    problems = loader.ask(with_field(place, message, field, value))
                    if refusal(problems, spelled(place + (field.name,))):
                        refused[name, field.name, value] = True
        return refused

    all_refused = {}
    with futures.ThreadPoolExecutor(4) as pool:
        for refused in pool.map(of_message, found):
            all_refused.update(refused)
    return all_refused


def get(path):
    at = BASE
    for key in path:
        at = at[key]
    return at


# ---- defaults and ranges, from the loader's source

UNITS = {"S": 10 ** 9, "MS": 10 ** 6, "WEFT_NS_PER_S": 10 ** 9, "WEFT_NS_PER_MS": 10 ** 6, "BUILD_LONGEST": 365 * 86400 * 10 ** 9,
         "INT32_MAX": 2 ** 31 - 1, "UINT32_MAX": 2 ** 32 - 1}
# What the source says in a way that is not one number.
TEXTS = {("Http2ProtocolOptions", "initial_connection_window_size"): "16 MiB, or the stream window if that is larger",
         ("RetryBackOff", "max_interval"): "10 × base_interval"}


def functions(root):
    for path in sorted(glob.glob(root + "/sidecar/config/*.c")):
        with open(path, encoding="utf-8") as source:
            text = source.read()
        for match in re.finditer(r"^(?:static |const )*[\w ]+\**\w+\([^;{]*\) \{\n.*?^\}", text, re.S | re.M):
            yield match.group(0)


def c_names(messages, root):
    """protobuf-c's name of each message → our name."""
    prefix = {}
    for path in glob.glob(root + "/proto/**/*.proto", recursive=True):
        with open(path, encoding="utf-8") as source:
            found = re.search(r'c_package = "(\w+)"', source.read())
        if found:
            prefix[os.path.relpath(path, root + "/proto")] = found.group(1)
    names = {}
    for name, message in messages.items():
        package = prefix.get(message.file)
        if package:
            inner = re.sub(r"^.*?\.v\d+\.", "", name)
            camel = "".join(p[:1].upper() + p[1:] for p in package.split("_"))
            names[camel + "__" + inner.replace(".", "__")] = name
    return names


def evaluate(text, symbols):
    text = re.sub(r"\b(\d+)u\b", r"\1", re.sub(r"out->(?:h2\.)?(\w+)", r"\1", text.strip()))
    for _ in range(4):
        text = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: "(%s)" % symbols.get(m.group(0), m.group(0)), text)
    try:
        return int(eval(text.replace("/", "//"), {"__builtins__": {}}, dict(UNITS)))  # numbers of our own source
    except (NameError, SyntaxError, TypeError):
        return None


def duration(ns):
    for size, unit in ((86400 * 10 ** 9, "d"), (3600 * 10 ** 9, "h"), (60 * 10 ** 9, "min"), (10 ** 9, "s"), (10 ** 6, "ms"), (10 ** 3, "µs")):
        if ns and ns % size == 0:
            return "%d %s" % (ns // size, unit)
    return "0" if ns == 0 else "%d ns" % ns


def number(n):
    if n >= 2 ** 31 - 1:
        return {2 ** 31 - 1: "2^31 - 1", 2 ** 32 - 1: "2^32 - 1", 2 ** 32 - 2: "2^32 - 2"}.get(n, str(n))
    return "%d KiB" % (n >> 10) if n >= 1 << 16 and n % 1024 == 0 else "{:,}".format(n)


def values(messages, root):
    """(message, field) → "default …; … to …", for what goes through build_u32 and build_duration."""
    symbols, out = {}, {}
    sources = list(functions(root))
    with open(root + "/sidecar/config/http.c", encoding="utf-8") as source:
        text = source.read()
    for path in ("http", "action", "balance", "cluster"):
        with open(root + "/sidecar/config/%s.c" % path, encoding="utf-8") as source:
            text = source.read()
        for name, value in re.findall(r"\.(\w+) = ([\w *<]+)[,}]", text):
            symbols.setdefault(name, value.replace("10u << ", "").replace("u <<", " <<"))
        for name, value in re.findall(r"#define (\w+) ([\w(<) -]+)$", text, re.M):
            symbols.setdefault(name, value.replace("1u", "1"))
    for name in UNITS:
        symbols.pop(name, None)
    symbols["max_header_bytes"] = "60 << 10"
    types = c_names(messages, root)
    call = re.compile(r"build_(u32|duration)\(\s*b,\s*\"(\w+)\",\s*([\w>-]+),\s*([^,]+),\s*([^,]+),\s*([^;]+?)\)(?:;|,)", re.S)
    for text in sources:
        variables = {var: types[kind] for kind, var in re.findall(r"const (\w+) \*(\w+)", text) if kind in types}
        for kind, field, value, *rest in call.findall(text):
            chain = value.split("->")
            owner = variables.get(chain[0])
            for step in chain[1:-1]:
                inner = [f for f, _ in messages[owner].fields if f.name == step] if owner else []
                owner = inner[0].type_name.lstrip(".") if inner else None
            if not owner:
                raise SystemExit("docs: cannot tell whose field %s is in\n%s" % (field, text))
            show = number if kind == "u32" else duration
            given, low, high = (evaluate(t, symbols) for t in rest)
            if given is None and re.fullmatch(r"out->\w+", rest[0]):
                given = 0  # not in the initialiser
            text_of = TEXTS.get((owner.split(".")[-1], field))
            if text_of is None and given is None:
                raise SystemExit("docs: cannot tell the default of %s.%s: %s" % (owner, field, rest[0]))
            none = kind == "duration" and given == 0 or field == "max_retries"
            default = text_of or ("none" if none else show(given))
            out[owner, field] = "default %s; %s to %s" % (default, show(low), show(high))
    return out


def unused(messages, root, found):
    """Fields that no function of the loader looks at."""
    types = {name: c for c, name in c_names(messages, root).items()}
    sources = list(functions(root))
    idle = set()
    for name in found:
        for field, _ in messages[name].fields:
            used = r"(->|\.)(n_)?%s\b" % field.name
            direct = [t for t in sources if types.get(name, "?") + " " in t and re.search(used, t)]
            chained = [t for t in sources if re.search(r"->\w+(\[\w+\])?" + used, t)]
            oneof = field.HasField("oneof_index")  # judged by its case
            if not direct and not chained and not oneof:
                idle.add((name, field.name))
    return idle
