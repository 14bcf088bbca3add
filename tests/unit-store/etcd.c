#include "etcd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

bool test_etcd_there(void) {
  return access("/usr/bin/etcd", X_OK) == 0;
}

static int free_port(void) {
  struct sockaddr_in a = loopback(0);
  socklen_t n = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0;
  close(fd);
  return ok ? ntohs(a.sin_port) : 0;
}

static bool takes_connections(int port) {
  struct sockaddr_in a = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool yes = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
  close(fd);
  return yes;
}

static void run(const test_etcd_t *t, int i) {
  char name[16], data[128], client[64], peer[64], cluster[400] = "", log[128];
  snprintf(name, sizeof name, "m%d", i);
  snprintf(data, sizeof data, "%s/etcd%d", t->dir, i);
  snprintf(log, sizeof log, "%s/etcd%d.log", t->dir, i);
  snprintf(client, sizeof client, "http://127.0.0.1:%d", t->ports[i]);
  snprintf(peer, sizeof peer, "http://127.0.0.1:%d", t->peers[i]);
  for (int k = 0; k < t->members; k++) {
    size_t n = strlen(cluster);
    snprintf(cluster + n, sizeof cluster - n, "%sm%d=http://127.0.0.1:%d", k ? "," : "", k, t->peers[k]);
  }
  int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd >= 0) dup2(fd, 1), dup2(fd, 2);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execl("/usr/bin/etcd", "etcd", "--name", name, "--data-dir", data, "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500", NULL);
  _exit(127);
}

void test_etcd_start_member(test_etcd_t *t, int i) {
  t->pids[i] = fork();
  if (t->pids[i] == 0) run(t, i);
  for (int k = 0; k < 2000 && !takes_connections(t->ports[i]); k++) usleep(10000);
}

void test_etcd_start(test_etcd_t *t, const char *dir, int members) {
  size_t n = 0;
  *t = (test_etcd_t){.members = members};
  snprintf(t->dir, sizeof t->dir, "%s", dir);
  n += (size_t)snprintf(t->config, sizeof t->config, "{\"requestTimeoutMs\":20000,\"endpoints\":[");
  for (int i = 0; i < members; i++) {
    t->ports[i] = free_port();
    t->peers[i] = free_port();
    n += (size_t)snprintf(t->config + n, sizeof t->config - n, "%s\"http://127.0.0.1:%d\"", i ? "," : "", t->ports[i]);
  }
  snprintf(t->config + n, sizeof t->config - n, "]}");
  /* The first members take connections when the others are there: all are started before one is waited for. */
  for (int i = 0; i + 1 < members; i++)
    if ((t->pids[i] = fork()) == 0) run(t, i);
  test_etcd_start_member(t, members - 1);
  for (int i = 0; i + 1 < members; i++)
    for (int k = 0; k < 2000 && !takes_connections(t->ports[i]); k++) usleep(10000);
}

void test_etcd_kill(test_etcd_t *t, int i) {
  if (t->pids[i] <= 0) return;
  kill(t->pids[i], SIGKILL);
  waitpid(t->pids[i], NULL, 0);
  t->pids[i] = 0;
}

void test_etcd_stop(test_etcd_t *t) {
  for (int i = 0; i < t->members; i++) test_etcd_kill(t, i);
}
