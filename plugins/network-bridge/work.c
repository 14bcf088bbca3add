/* What the worker thread does for each kind of job. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netfilter/nft.h"
#include "network.h"

/* --- nft --------------------------------------------------------------------------------------------------------- */

static int nft(const char *rules, kg_error_t *err) {
  char said[300] = "";
  int out, status = -1, result = 0;
  if (!rules) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  pid_t pid = nft_spawn(rules, strlen(rules), &out);
  if (pid < 0) {
    result = kg_error_set(err, KG_EINTERNAL, "nft could not be started: %s", strerror(errno));
  } else {
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    ssize_t n = pread(out, said, sizeof said - 1, 0);
    if (n > 0) said[n] = '\0';
    if (status) result = kg_error_set(err, KG_EINTERNAL, "nft refused: %s", said);
  }
  if (out >= 0) close(out);
  return result;
}

/* --- the bridge -------------------------------------------------------------------------------------------------- */

static void set_switch(const char *path, job_t *j) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1", 1) != 1) snprintf(j->warning, sizeof j->warning, "%s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
}

static unsigned link_mtu(const char *name) {
  struct ifreq r = {0};
  snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCGIFMTU, &r) < 0) r.ifr_mtu = 1500;
  if (fd >= 0) close(fd);
  return (unsigned)r.ifr_mtu;
}

/* MTU of the interface that leads out; 1500 if none does. */
static unsigned uplink_mtu(void) {
  char name[64];
  unsigned long target;
  FILE *f = fopen("/proc/thread-self/net/route", "re");
  bool found = false;
  for (char line[256]; f && !found && fgets(line, sizeof line, f);)
    found = sscanf(line, "%63s %lx", name, &target) == 2 && !target;
  if (f) fclose(f);
  return found ? link_mtu(name) : 1500;
}

static void work_bridge(job_t *j, netlink_t *host) {
  char path[128];
  if (!j->mtu) j->mtu = uplink_mtu();
  if (bridge_make(host, j) < 0 || nft(j->rules, &j->err) < 0) return;
  set_switch("/proc/sys/net/ipv4/ip_forward", j);
  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/route_localnet", j->bridge);
  set_switch(path, j);
  links_remove_others(host, j);
}

/* --- pods -------------------------------------------------------------------------------------------------------- */

static int come_back(int host_ns, kg_error_t *err) {
  if (setns(host_ns, CLONE_NEWNET) == 0) return 0;
  return kg_error_set(err, KG_EFULL, "the worker could not come back from a pod's namespace: %s", strerror(errno));
}

/* In the pod's namespace: true if it has its interface already. */
static int look_inside(int netns, int host_ns, netlink_t **inside, bool *there, kg_error_t *err) {
  if (setns(netns, CLONE_NEWNET) < 0)
    return kg_error_set(err, KG_EINTERNAL, "its namespace cannot be entered: %s", strerror(errno));
  *there = if_nametoindex("eth0") != 0;
  *inside = netlink_open(err);
  return come_back(host_ns, err) == 0 && *inside ? 0 : -1;
}

static int make_inside(netlink_t *inside, const job_t *j, int netns, int host_ns, kg_error_t *err) {
  if (setns(netns, CLONE_NEWNET) < 0)
    return kg_error_set(err, KG_EINTERNAL, "its namespace cannot be entered: %s", strerror(errno));
  int r = pod_inside_make(inside, j, err);
  return come_back(host_ns, err) == 0 ? r : -1;
}

static int attach(job_t *j, netlink_t *host, netlink_t *inside, bool there, int netns, int host_ns) {
  if (!j->mtu) j->mtu = link_mtu(j->bridge); /* just started */
  bool joined = if_nametoindex(j->link) != 0;
  if (joined && !there) links_remove(host, &j->link, 1);
  if (!(joined && there) && pod_link_make(host, j, netns, &j->err) < 0) return -1;
  if (make_inside(inside, j, netns, host_ns, &j->err) < 0) return -1;
  return j->rules ? nft(j->rules, &j->err) : 0;
}

static void work_attach(job_t *j, netlink_t *host, int host_ns) {
  netlink_t *inside = NULL;
  bool there = false;
  int netns = open(j->netns, O_RDONLY | O_CLOEXEC);
  if (netns < 0) {
    kg_error_set(&j->err, KG_EINVAL, "its namespace %s cannot be opened: %s", j->netns, strerror(errno));
    return;
  }
  if (look_inside(netns, host_ns, &inside, &there, &j->err) == 0 && attach(j, host, inside, there, netns, host_ns) < 0)
    links_remove(host, &j->link, 1);
  netlink_close(inside);
  close(netns);
}

bool work(job_t *j, netlink_t *host, int host_ns) {
  switch (j->kind) {
  case JOB_BRIDGE:
    work_bridge(j, host);
    break;
  case JOB_ATTACH:
    work_attach(j, host, host_ns);
    break;
  case JOB_RULES:
    nft(j->rules, &j->err);
    break;
  case JOB_SWEEP:
    links_remove(host, j->links, j->nlinks);
    break;
  }
  return j->err.code != KG_EFULL;
}
