#ifndef TEST_CLUSTER_H
#define TEST_CLUSTER_H
/* A store, an api, a bridge and the plugin under test on one node named "here". */
#include "driver.h"
#include "world.h"

#define BRIDGE "kgtest0"
#define BRIDGE_IP "10.77.0.1"

typedef struct cluster {
  world_t w;
  char data[96], run[96], outside[128];
  driver_t *d;
} cluster_t;

void cluster_up(cluster_t *c, const char *plugin, const char *file, const char *config);
void cluster_down(cluster_t *c);
/* A pod: its namespace and address. */
void pod_up(cluster_t *c, const char *name, char netns[128], char ip[32]);

/* Objects as JSON. group "" is core. Fail the test when the api refuses. */
void object_put(cluster_t *c, const char *group, const char *version, const char *resource, const char *ns,
                const char *name, const char *json); /* creates, or updates what is there */
void object_delete(cluster_t *c, const char *group, const char *version, const char *resource, const char *ns,
                   const char *name);
void service_put(cluster_t *c, const char *name, const char *spec);
/* A slice of the service of that name. endpoints: JSON array. */
void slice_put(cluster_t *c, const char *service, int port, const char *protocol, const char *endpoints);
#endif
