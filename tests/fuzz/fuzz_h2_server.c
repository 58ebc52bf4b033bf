/* Bytes of a hostile client. */
#include "tests/fuzz/fuzz_h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_h2(H2_SERVER, data, size);
}
