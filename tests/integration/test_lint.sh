#!/bin/bash
# The linter's own test: a clean tree passes, and every rule fires on the tree that breaks it.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
passed=0 failed=0

result() { # NAME STATUS DETAIL
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1)) && echo "ok   $1"
    else
        failed=$((failed + 1)) && printf 'FAIL %s\n%s\n' "$1" "$3"
    fi
}

lint() { python3 "$top/tools/lint/lint" --root "$tree" --build "$tree/build" --only "$1" 2>&1; }

clean() {
    rm -rf "${tree:?}"/*
    mkdir -p "$tree"/{lib/base,lib/include/weft,lib/pb,lib/rpc,lib/store,services/shop,services/other,tools/lint,docs,tests/unit/base}
    cp "$top/.clang-format" "$tree/"
    printf '#ifndef A_H\n#define A_H\nint a(void);\n#endif\n' >"$tree/lib/include/weft/a.h"
    printf '#include <string.h>\n#include "weft/a.h"\n\nint a(void) { return (int)strlen("strcpy(a, b)"); }\n' >"$tree/lib/base/a.c"
    printf '# before\n<!-- rooms -->\n<!-- /rooms -->\n' >"$tree/docs/architecture.md"
    python3 "$top/tools/lint/lint" --root "$tree" --write-table
}

passes() { # NAME CHECKS
    local output
    output=$(lint "$2")
    result "$1" $? "$output"
}

fires() { # NAME CHECK EXPECTED_LINE
    local output status=0
    if output=$(lint "$2") || ! grep -qF -- "$3" <<<"$output"; then
        status=1
    fi
    result "$1" $status "$output"
}

add() { # FILE TEXT
    mkdir -p "$tree/$(dirname "$1")"
    printf "$2" >"$tree/$1"
}

clean
passes "a clean tree" format,includes,table,sizes,banned,allow,headers,cppcheck

clean; add lib/base/b.c 'int b( void )\n{ return 1; }\n'
fires "format" format "lib/base/b.c:1: not formatted"

while IFS='|' read -r file header expected; do
    clean
    add lib/include/weft/pb.h '\n'
    add lib/include/weft/store.h '\n'
    add lib/rpc/seam.h '\n'
    add services/other/other.h '\n'
    add "$file" "#include $header\n"
    if [ "$expected" = fine ]; then
        passes "$file may include $header" includes
    else
        fires "$file may not include $header" includes "$file:1: $expected"
    fi
done <<'END'
lib/base/b.c|"weft/pb.h"|lib/base may not include lib/pb
lib/base/b.c|<sqlite3.h>|lib/base may not use sqlite3
lib/base/b.c|<nowhere.h>|"nowhere.h" is neither ours nor
lib/base/b.c|"shop/v1/order.pb-c.h"|lib/base may not include generated code
lib/base/b.c|<stdio.h>|fine
lib/pb/b.c|<yajl/yajl_parse.h>|fine
lib/pb/b.c|"google/protobuf/any.pb-c.h"|fine
lib/pb/b.c|"lib/rpc/seam.h"|lib/pb may not include lib/rpc
lib/rpc/b.c|<grpc/grpc.h>|lib/rpc may not use C-core
lib/rpc/core_b.c|<grpc/grpc.h>|fine
lib/rpc/core_b.c|"lib/rpc/seam.h"|fine
lib/rpc/b.c|<yaml.h>|lib/rpc may not use libyaml
lib/rpc/b.c|"weft/pb.h"|fine
lib/store/b.c|<sqlite3.h>|fine
lib/store/b.c|"weft/pb.h"|lib/store may not include lib/pb
services/shop/b.c|<sqlite3.h>|services/* may not use sqlite3
services/shop/b.c|<openssl/ssl.h>|services/* may not use OpenSSL
services/shop/b.c|"weft/store.h"|fine
services/shop/b.c|"shop/v1/order.weft.h"|fine
services/shop/b.c|"services/other/other.h"|a service may not include another's header
tests/unit/base/test_b.c|<sqlite3.h>|fine
elsewhere/b.c|<stdio.h>|belongs to no room
END

clean; rm "$tree/docs/architecture.md"
fires "table: document missing" table "is missing; it must show the include table"
clean; sed -i 's/libc only/OpenSSL/' "$tree/docs/architecture.md"
fires "table: document differs" table "differs from tools/lint/rooms.tsv"
clean; echo text >"$tree/docs/architecture.md"
fires "table: no marks" table "has no include table"

body() { for ((i = 0; i < $1; i++)); do echo "    c++;"; done; }
clean; { echo 'int b(int c) {'; body 78; echo '}'; } >"$tree/lib/base/b.c"
passes "a function of 80 lines" sizes
clean; { echo 'int b(int c) {'; body 79; echo '}'; } >"$tree/lib/base/b.c"
fires "a function of 81 lines" sizes "lib/base/b.c:1: b has 81 lines"
clean; { echo 'static struct a *b(int c,'; echo '                  int d) {'; body 90; echo '}'; } >"$tree/lib/base/b.c"
fires "a long function with a long signature" sizes "lib/base/b.c:1: b has 93 lines"
clean; { echo 'static const int b[] = {'; for i in {1..90}; do echo "    f(1),"; done; echo '};'; } >"$tree/lib/base/b.c"
passes "a long table is no function" sizes
printf 'lib/base/b.c\tb\tone switch over all codes\n' >"$tree/tools/lint/allow.tsv"
fires "an unused exception" sizes,banned,allow "lib/base/b.c b: no longer needed"
clean; { echo 'int b(int c) {'; body 90; echo '}'; } >"$tree/lib/base/b.c"
printf 'lib/base/b.c\tb\tone switch over all codes\n' >"$tree/tools/lint/allow.tsv"
passes "an exception with its reason" sizes,banned,allow
printf 'lib/base/b.c\tb\t\n' >"$tree/tools/lint/allow.tsv"
fires "an exception without a reason" sizes "expected 3 cells"
clean; for i in {1..801}; do echo "// $i"; done >"$tree/lib/base/b.c"
fires "a file of 801 lines" sizes "801 lines"

for call in strcpy strcat sprintf gets atoi alloca system strtok popen; do
    clean; add lib/base/b.c "int b(void) {\n    return (int)$call(0);\n}\n"
    fires "banned: $call" banned "lib/base/b.c:2: $call is a banned call"
done
clean; add lib/base/b.c '/* strcpy(a) */\nint my_system(int a);\nint b(void) { return my_system(1) + x->system(2); }\n'
passes "not banned: comments, longer names, members" banned

clean; add lib/include/weft/b.h 'size_t b(void);\n'
fires "a header that needs another" headers "lib/include/weft/b.h:1: does not compile alone in C"
clean; add lib/include/weft/b.h 'int b(int class);\n'
fires "a header that is not C++" headers "does not compile alone in C++"
clean; add lib/base/b.c 'int b(void) {\n    int a[2];\n    a[2] = 1;\n    return a[0];\n}\n'
fires "cppcheck" cppcheck "lib/base/b.c:3: "

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
