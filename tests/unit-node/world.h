#ifndef WORLD_H
#define WORLD_H
/* A kernel with a store, the api, a runtime that pretends and the node agent; requests from the test's thread. */
#include "../unit-store/driver.h"

typedef struct world {
  driver_t *d;
  char dir[64]; /* data and run directory */
} world_t;

extern const char *const NODE; /* the agent's configuration */

void begin_bare(world_t *w); /* store and api only */
void begin(world_t *w);
void finish(world_t *w);
void must(world_t *w, const char *topic, const char *args, const char *doc); /* a call of the api that succeeds */
/* spec: further fields of the spec, JSON without braces. */
void create_pod(world_t *w, const char *name, const char *spec);
void create_pod_on(world_t *w, const char *node, const char *name, const char *annotations, const char *spec);
#define CONTAINER(name, ...) "{\"name\":\"" name "\",\"image\":\"here\",\"command\":[" __VA_ARGS__ "]}"
#define POD_ARGS(name) "{\"g\":\"\",\"v\":\"v1\",\"r\":\"pods\",\"ns\":\"default\",\"name\":\"" name "\"}"

kg_doc_t *get_object(world_t *w, const char *args); /* owned; NULL: there is none */
/* Waits until the object's JSON contains `text`; NULL: until it is not there. */
void expect_object(world_t *w, const char *args, const char *text);
/* Waits until an event of this reason says `text` in its message. */
void expect_event(world_t *w, const char *reason, const char *text);
void expect_calls(const char *topic, const char *part, int n);
kg_view_t condition(kg_view_t object, const char *type);
void cr_text(kg_view_t v, const char *wanted);

#endif
