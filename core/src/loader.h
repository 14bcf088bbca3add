#ifndef KG_LOADER_H
#define KG_LOADER_H
/* Plugin files. Manager thread. */
#include "kernel.h"

typedef struct kg_loaded {
  kg_mapped_t *code; /* what dlopen gave; NULL: nothing is loaded */
  const kg_plugin_t *desc;
  char *path;    /* where the file was found; malloc'ed */
  uint64_t hash; /* of its content */
} kg_loaded_t;

/* Absolute path of a plugin file: a path with a slash as it is, else looked up in the plugin path; `role` (may be NULL)
 * lets a bare word W mean ROLE-W.so. Caller frees. NULL and a sentence if there is no such file. */
char *kg_loader_find(const char *plugin_path, const char *file, const char *role, kg_error_t *err);
/* Hash of the file's content; 0 and a sentence if it cannot be read. */
uint64_t kg_loader_hash(const char *path, kg_error_t *err);
/* Opens a private copy of the file and checks its descriptor. */
int kg_loader_open(const char *run_dir, const char *path, kg_loaded_t *out, kg_error_t *err);
void kg_loader_close(kg_loaded_t *l);
/* Whether the plugin says that it knows every key of its configuration; -1 and a sentence with those that it knows. */
int kg_loader_keys(const kg_plugin_t *desc, kg_view_t config, kg_error_t *err);
/* Checks a descriptor; `path` is for the sentence. */
int kg_loader_check(const kg_plugin_t *desc, const char *path, kg_error_t *err);

#endif
