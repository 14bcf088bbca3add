#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H
/*
 * A cluster without nodes: store, api and the controllers of a test. Objects are written as JSON with ' for ". A
 * resource is named "apps/v1/deployments" or "v1/pods". A path is keys with > between them, as in
 * "status>conditions>type=Ready>status" (an element of an array by one of its fields, or by its number).
 */
#include "driver.h"

typedef struct cluster cluster_t;

/* Controllers by file ("controller-gc"), NULL at the end. `config` (may be NULL) is given to each. */
cluster_t *cluster_new(const char *config, const char *const *controllers);
void cluster_free(cluster_t *c);
driver_t *cluster_driver(cluster_t *c);

void make(cluster_t *c, const char *resource, const char *ns, const char *fmt, ...) KG_PRINTF(4, 5);
/* Merge patch, `sub` may be NULL. */
void patch(cluster_t *c, const char *resource, const char *ns, const char *name, const char *sub, const char *fmt, ...)
    KG_PRINTF(6, 7);
void del(cluster_t *c, const char *resource, const char *ns, const char *name, const char *propagation);
/* The code of the answer to a create of a subresource, e.g. an eviction. */
int post_sub(cluster_t *c, const char *resource, const char *ns, const char *name, const char *sub, const char *json);

kg_msg_t *fetch(cluster_t *c, const char *resource, const char *ns, const char *name); /* NULL: not there */
kg_msg_t *list(cluster_t *c, const char *resource, const char *ns, const char *labels);
size_t count(cluster_t *c, const char *resource, const char *ns, const char *labels);
kg_view_t at(kg_view_t v, const char *path);
kg_doc_t *json(const char *fmt, ...) KG_PRINTF(1, 2);

/* Each waits up to ten seconds and fails the test with what there is. want NULL: nothing at that path. */
void expect(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path, const char *want);
void expect_there(cluster_t *c, const char *resource, const char *ns, const char *name);
void expect_gone(cluster_t *c, const char *resource, const char *ns, const char *name);
void expect_count(cluster_t *c, const char *resource, const char *ns, const char *labels, size_t n);
/* An event about the object with that reason; message NULL: any. */
void expect_event(cluster_t *c, const char *ns, const char *object, const char *reason, const char *message);
/* For `ms` it stays so. */
void stays_count(cluster_t *c, const char *resource, const char *ns, const char *labels, size_t n, int ms);

/* What a node would do: pods that are not ready become Running and Ready, those being deleted go. Returns how many it
 * changed. */
int kubelet(cluster_t *c, const char *ns);
/* Runs the kubelet until the condition holds. */
void settle(cluster_t *c, const char *resource, const char *ns, const char *name, const char *path, const char *want);
/* Ends a pod: "Succeeded" or "Failed", with that exit code of its container `c`. */
void finish_pod(cluster_t *c, const char *ns, const char *pod, const char *phase, int code);
void pause_ms(int ms);

#define POD_SPEC "'spec':{'containers':[{'name':'c','image':'i'}]}"
#endif
