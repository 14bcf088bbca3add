#ifndef TEST_ETCD_H
#define TEST_ETCD_H
/* Real etcd servers on loopback ports, for tests. */
#include <stdbool.h>
#include <sys/types.h>

enum { ETCD_MEMBERS = 3 };

typedef struct test_etcd {
  char dir[80];
  int members;
  pid_t pids[ETCD_MEMBERS];
  int ports[ETCD_MEMBERS], peers[ETCD_MEMBERS];
  char config[256]; /* JSON for store-etcd */
} test_etcd_t;

bool test_etcd_there(void); /* etcd is installed */
/* Starts 1 or 3 members with their data under `dir` and waits until each takes connections. They die with this process.
 */
void test_etcd_start(test_etcd_t *t, const char *dir, int members);
void test_etcd_start_member(test_etcd_t *t, int i);
void test_etcd_kill(test_etcd_t *t, int i); /* kill -9 */
void test_etcd_stop(test_etcd_t *t);

#endif
