#include "world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *sh(const char *fmt, ...) {
  static char out[65536];
  char command[4096];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(command, sizeof command, fmt, ap);
  va_end(ap);
  FILE *f = popen(command, "r");
  cr_assert(f);
  size_t n = fread(out, 1, sizeof out - 1, f);
  out[n] = '\0';
  int status = pclose(f);
  cr_assert_eq(status, 0, "%s: status %d", command, status);
  return out;
}

void world_enter(world_t *w) {
  char outside[128];
  *w = (world_t){.dir = "/tmp/kogge-network-XXXXXX"};
  cr_assert(mkdtemp(w->dir));
  cr_assert_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0, "root is needed: %s", strerror(errno));
  cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
  world_ns(w, "outside", outside);
  sh("ip link set lo up && ip link add up0 type veth peer name eth0 && ip link set up0 up && ip addr add " HOST_IP
     "/24 dev up0 && ip route add default via " OUTSIDE_IP);
  sh("ip link set eth0 netns %s && "
     "nsenter --net=%s sh -c 'ip link set lo up; ip link set eth0 up; ip addr add " OUTSIDE_IP "/24 dev eth0'",
     outside, outside);
}

void world_leave(world_t *w) {
  for (int i = 0; i < w->nservers; i++) {
    kill(w->servers[i], SIGKILL);
    waitpid(w->servers[i], NULL, 0);
  }
  sh("for m in $(grep -o '%s[^ ]*' /proc/self/mountinfo); do umount -l $m; done; rm -rf --one-file-system %s", w->dir,
     w->dir);
}

void world_ns(world_t *w, const char *name, char path[128]) {
  snprintf(path, 128, "%s/%s", w->dir, name);
  int fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
  cr_assert(fd >= 0);
  close(fd);
  pid_t pid = fork(); /* children here make system calls only: they take no lock that another thread may hold */
  if (!pid) _exit(unshare(CLONE_NEWNET) < 0 || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0);
  int status;
  cr_assert(waitpid(pid, &status, 0) == pid && !status, "%s could not be made", path);
}

void world_ns_drop(const char *path) {
  cr_assert_eq(umount2(path, MNT_DETACH), 0);
  unlink(path);
}

static void enter(const char *netns) {
  int fd = netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;
  if (netns && (fd < 0 || setns(fd, CLONE_NEWNET) < 0)) _exit(9);
}

static int socket_of(bool udp) {
  return socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
}

static void answer_tcp(int fd) {
  struct sockaddr_in from;
  char text[32];
  for (;;) {
    socklen_t n = sizeof from;
    int c = accept(fd, (struct sockaddr *)&from, &n);
    if (c < 0) continue;
    inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    if (write(c, text, strlen(text)) < 0) perror("serve");
    close(c);
  }
}

static void answer_udp(int fd) {
  struct sockaddr_in from;
  char text[32];
  for (;;) {
    socklen_t n = sizeof from;
    if (recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &n) < 0) continue;
    inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    sendto(fd, text, strlen(text), 0, (struct sockaddr *)&from, n);
  }
}

void serve(world_t *w, const char *netns, int port, bool udp) {
  int ready[2];
  char ok;
  cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (!pid) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(netns);
    int fd = socket_of(udp), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || (!udp && listen(fd, 16) < 0)) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    udp ? answer_udp(fd) : answer_tcp(fd);
  }
  close(ready[1]);
  cr_assert_eq(read(ready[0], &ok, 1), 1, "port %d could not be served", port);
  close(ready[0]);
  w->servers[w->nservers++] = pid;
}

static void ask_here(const char *ip, int port, int from_port, bool udp, int out) {
  int fd = socket_of(udp);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons((uint16_t)from_port)};
  if (from_port && bind(fd, (struct sockaddr *)&from, sizeof from) < 0) _exit(1);
  char text[32];
  struct timeval patience = {5, 0}; /* a lost SYN is sent again after a second */
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, ip, &a.sin_addr);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) _exit(errno == ECONNREFUSED ? 2 : 1);
  if (udp && send(fd, "?", 1, 0) != 1) _exit(1);
  ssize_t n = recv(fd, text, sizeof text, 0);
  if (n < 0) _exit(errno == ECONNREFUSED ? 2 : 1);
  if (write(out, text, (size_t)n) < 0) _exit(1);
  _exit(0);
}

static const char *ask_with(const char *netns, const char *ip, int port, int from_port, bool udp) {
  static char text[64];
  int out[2], status;
  cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (!pid) {
    enter(netns);
    ask_here(ip, port, from_port, udp, out[1]);
  }
  close(out[1]);
  ssize_t n = read(out[0], text, sizeof text - 1);
  text[n > 0 ? n : 0] = '\0';
  close(out[0]);
  waitpid(pid, &status, 0);
  if (WEXITSTATUS(status) == 2) return "refused";
  return status ? "-" : text;
}

const char *ask(const char *netns, const char *ip, int port, bool udp) {
  return ask_with(netns, ip, port, 0, udp);
}

const char *ask_from(const char *netns, const char *ip, int port, int from_port) {
  return ask_with(netns, ip, port, from_port, true);
}
