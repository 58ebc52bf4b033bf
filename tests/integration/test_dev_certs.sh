#!/bin/bash
# `weft dev-certs`, judged by the openssl program.
set -u
weft=$(cd "${BUILD:-build}/bin" && pwd)/weft
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # NAME COMMAND...
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1)) && echo "ok   $name"
    else
        failed=$((failed + 1)) && printf 'FAIL %s\n%s\n' "$name" "$output"
    fi
}

fails() { # CODE TEXT COMMAND...: exits so and says so
    local want=$1 text=$2 output code=0
    shift 2
    output=$("$@" 2>&1) || code=$?
    [ $code -eq "$want" ] && grep -qF -- "$text" <<<"$output" && return 0
    echo "exit $code, expected $want and \"$text\": $output"
    return 1
}

says() { # TEXT COMMAND...
    local text=$1 output
    shift
    output=$("$@" 2>&1) && grep -qF -- "$text" <<<"$output" && return 0
    echo "expected \"$text\": $output"
    return 1
}

certs=$work/deep/certs
make_certs() { "$weft" dev-certs --out "$certs" --namespace shop "$@"; }
text() { openssl x509 -in "$1" -noout -text; }
mode() { [ "$(stat -c %a "$2")" = "$1" ]; }
same() { cmp -s "$1" "$2"; }
differ() { ! cmp -s "$1" "$2"; }
now_valid_for() { openssl x509 -in "$1" -noout -checkend "$2"; }
not_valid_for() { ! openssl x509 -in "$1" -noout -checkend "$2"; }
key_fits() { [ "$(openssl x509 -in "$1.pem" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ]; }

# ---- the first time
check 'makes a CA and leaves' says 'made' make_certs order product-2
check 'the folder is owner-only' mode 700 "$certs"
for name in ca order product-2; do
    check "the key of $name is owner-only" mode 600 "$certs/$name.key"
    check "the key of $name is its certificate's" key_fits "$certs/$name"
done
check 'openssl verifies a leaf as server' openssl verify -x509_strict -purpose sslserver -CAfile "$certs/ca.pem" "$certs/order.pem"
check 'and as client' openssl verify -x509_strict -purpose sslclient -CAfile "$certs/ca.pem" "$certs/product-2.pem"
check 'identity' says 'URI:spiffe://mesh.local/ns/shop/sa/order' text "$certs/order.pem"
check 'identity of the other' says 'URI:spiffe://mesh.local/ns/shop/sa/product-2' text "$certs/product-2.pem"
check 'identity of the CA' says 'URI:spiffe://mesh.local' text "$certs/ca.pem"
check 'the CA is one' says 'CA:TRUE' text "$certs/ca.pem"
check 'a leaf is none' says 'CA:FALSE' text "$certs/order.pem"
check 'a day long' now_valid_for "$certs/order.pem" $((24 * 3600 - 120))
check 'no longer' not_valid_for "$certs/order.pem" $((24 * 3600 + 60))
check 'the CA for years' now_valid_for "$certs/ca.pem" $((3000 * 24 * 3600))

# ---- again
cp -r "$certs" "$work/before"
check 'again keeps all' says 'kept' make_certs order product-2
for file in ca.pem ca.key order.pem order.key product-2.pem; do
    check "$file is the same" same "$certs/$file" "$work/before/$file"
done
check 'one more service' make_certs user
check 'is under the same CA' openssl verify -CAfile "$work/before/ca.pem" "$certs/user.pem"

# ---- renewal: a certificate of 1 s, backdated 60 s, is past its half at once
check 'a short one' make_certs --ttl 1s short
cp "$certs/short.pem" "$work/short.pem"
cp "$certs/short.key" "$work/short.key"
check 'is renewed' says '"what":"renewed"' make_certs -o json short
check 'with a new certificate' differ "$certs/short.pem" "$work/short.pem"
check 'and a new key' differ "$certs/short.key" "$work/short.key"
check 'by the same CA' same "$certs/ca.pem" "$work/before/ca.pem"
cp "$certs/user.key" "$certs/order.key"
check 'a key of another is replaced' make_certs order
check 'and fits again' key_fits "$certs/order"
echo rubbish >"$certs/order.pem"
check 'rubbish is replaced' make_certs order
check 'and verifies again' openssl verify -CAfile "$certs/ca.pem" "$certs/order.pem"
chmod 644 "$certs/order.key"
check 'a key others could read is replaced' make_certs order
check 'and private again' mode 600 "$certs/order.key"
check 'another namespace is another identity' "$weft" dev-certs --out "$certs" --namespace test order
check 'which replaces the old' says 'URI:spiffe://mesh.local/ns/test/sa/order' text "$certs/order.pem"

# ---- JSON
json=$work/out.json
make_certs -o json order user >"$json"
check 'JSON' python3 -c "
import json, sys
made = json.load(open('$json'))
assert made['ca']['id'] == 'spiffe://mesh.local' and made['ca']['what'] == 'kept', made
assert [s['name'] for s in made['services']] == ['order', 'user'], made
assert made['services'][0]['id'] == 'spiffe://mesh.local/ns/shop/sa/order', made
assert open(made['services'][1]['cert']).read().startswith('-----BEGIN CERTIFICATE'), made
assert 'PRIVATE KEY' in open(made['services'][1]['key']).read(), made"

# ---- an interrupted first run left the key alone
mkdir "$work/half" && cp "$certs/ca.key" "$work/half/"
check 'goes on with a lone CA key' "$weft" dev-certs --out "$work/half" a
check 'and keeps it' same "$certs/ca.key" "$work/half/ca.key"

# ---- errors
check 'no folder' fails 2 'say --out DIR' "$weft" dev-certs order
check 'no service' fails 2 'for which services?' "$weft" dev-certs --out "$work/x"
check 'nothing was made' [ ! -e "$work/x" ]
check 'bad service' fails 2 '"Order_1" is not a name of a service' make_certs Order_1
check 'ca is taken' fails 2 '"ca" is not a name of a service' make_certs ca
check 'bad domain' fails 2 'is not a trust domain' make_certs --trust-domain Mesh/Local order
check 'bad namespace' fails 2 'is not a namespace' "$weft" dev-certs --out "$certs" --namespace a.b order
check 'bad ttl' fails 2 'ttl' make_certs --ttl 0s order
check 'another trust domain' fails 1 'is the CA of spiffe://mesh.local, not of spiffe://other.local' make_certs --trust-domain other.local order
chmod 644 "$certs/ca.key"
check 'a CA key others can read' fails 1 "$certs/ca.key" make_certs order
chmod 600 "$certs/ca.key"
cp "$certs/user.key" "$certs/ca.key"
check 'a CA key of another' fails 1 "$certs/ca.key does not belong to $certs/ca.pem" make_certs order
rm "$certs/ca.key"
check 'no CA key' fails 1 "has no key $certs/ca.key" make_certs order
touch "$work/file"
check 'a file where the folder should be' fails 1 "cannot make the folder $work/file/x: Not a directory" "$weft" dev-certs --out "$work/file/x" order
echo rubbish >"$certs/ca.pem"
check 'a CA that is rubbish' fails 1 "$certs/ca.pem" make_certs order

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
