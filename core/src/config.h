#ifndef KG_CONFIG_H
#define KG_CONFIG_H
/* Configuration files: YAML in, a tree that command line flags may change, msgpack out. One thread at a time. */
#include "kogge/doc.h"
#include "kogge/pack.h"

/* A name for an instance or a lane: 1 to 63 of a-z, 0-9, - and _. NULL is none. */
bool kg_cfg_good_name(const char *name);

typedef struct kg_cfg kg_cfg_t; /* one node */

typedef enum { KG_CFG_SCALAR, KG_CFG_LIST, KG_CFG_MAP } kg_cfg_kind_t;

/* Reads a file. Caller frees. NULL and "FILE:LINE: sentence". */
kg_cfg_t *kg_cfg_read(const char *path, kg_error_t *err);
/* Same from memory; `name` stands for the file in sentences. */
kg_cfg_t *kg_cfg_parse(const char *name, const char *text, size_t size, kg_error_t *err);
void kg_cfg_free(kg_cfg_t *n);

kg_cfg_kind_t kg_cfg_kind(const kg_cfg_t *n);
int kg_cfg_line(const kg_cfg_t *n);
const kg_cfg_t *kg_cfg_get(const kg_cfg_t *n, const char *key); /* NULL: absent, or n is no map */
const char *kg_cfg_text(const kg_cfg_t *n);                     /* of a scalar; NULL otherwise */
size_t kg_cfg_count(const kg_cfg_t *n);
const kg_cfg_t *kg_cfg_at(const kg_cfg_t *n, size_t i); /* element, or value of pair i */
const char *kg_cfg_key(const kg_cfg_t *n, size_t i);    /* key of pair i */

/* Sets the scalar at a dotted path; a list is entered by the `name` of its elements, absent maps are made. -1 and a
 * sentence. */
int kg_cfg_set(kg_cfg_t *root, const char *path, const char *value, bool text, kg_error_t *err);

/* msgpack of the node; scalars get the types of YAML's core schema. Caller owns the reference; NULL: out of memory. */
kg_doc_t *kg_cfg_doc(const kg_cfg_t *n);

#endif
