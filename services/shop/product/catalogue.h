/* The opening catalogue, loaded into a new product database. */
#ifndef SHOP_PRODUCT_CATALOGUE_H
#define SHOP_PRODUCT_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

struct catalogue_entry {
    const char *product_id;
    const char *name;
    const char *category;
    int64_t price; /* euro cents */
    const char *description;
};

extern const struct catalogue_entry catalogue[];
extern const size_t catalogue_size;

#endif
