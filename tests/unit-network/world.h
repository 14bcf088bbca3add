#ifndef TEST_WORLD_H
#define TEST_WORLD_H
/* A network of the test's own: "host" is the test's process, "outside" is joined to it, pods are namespaces held by
 * files. */
#include <stdbool.h>
#include <sys/types.h>

#define HOST_IP "192.0.2.1"
#define OUTSIDE_IP "192.0.2.2"

typedef struct world {
  char dir[64];
  pid_t servers[16];
  int nservers;
} world_t;

/* Leaves the machine's network and mounts for good: the process (one test) ends with them. */
void world_enter(world_t *w);
void world_leave(world_t *w);
/* A new network namespace; returns its path in a buffer of the caller's (128 bytes). */
void world_ns(world_t *w, const char *name, char path[128]);
void world_ns_drop(const char *path);

/* Answers every connection with the address it came from, until the world ends. netns NULL: the host's. udp: datagrams.
 */
void serve(world_t *w, const char *netns, int port, bool udp);
/* What serve() says to us, or "-" if there is no connection within a second. from: local address or NULL. */
const char *ask(const char *netns, const char *ip, int port, bool udp);
/* The same over UDP from a given port. */
const char *ask_from(const char *netns, const char *ip, int port, int from_port);

/* Runs a shell command in the test's network; its output (static buffer). Fails the test unless it succeeds. */
const char *sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
