/* What the node is and has: read from the system, each time anew. */
#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "node.h"

enum { MOST_IMAGES = 50 };
#define KUBELET_VERSION "v1.37.0"

/* --- reading
 * ------------------------------------------------------------------------------------------------------------- */

/* First line of a small file without its end; "" if it cannot be read. */
static void read_line(const char *path, char *buf, size_t n) {
  FILE *f = fopen(path, "re");
  *buf = 0;
  if (!f) return;
  if (!fgets(buf, (int)n, f)) *buf = 0;
  buf[strcspn(buf, "\n")] = 0;
  fclose(f);
}

static int64_t read_number(const char *path) {
  char text[64];
  read_line(path, text, sizeof text);
  return atoll(text);
}

/* A line of /proc/meminfo in bytes. */
int64_t meminfo(const char *key) {
  char line[128];
  int64_t value = 0;
  FILE *f = fopen("/proc/meminfo", "re");
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':') {
      value = atoll(line + strlen(key) + 1) * 1024;
      break;
    }
  if (f) fclose(f);
  return value;
}

static void os_image(char *buf, size_t n) {
  char line[256];
  FILE *f = fopen("/etc/os-release", "re");
  snprintf(buf, n, "Linux");
  while (f && fgets(line, sizeof line, f)) {
    if (strncmp(line, "PRETTY_NAME=", 12)) continue;
    char *v = line + 12;
    v[strcspn(v, "\n")] = 0;
    size_t len = strlen(v);
    if (len > 1 && *v == '"' && v[len - 1] == '"') v[len - 1] = 0, v++;
    snprintf(buf, n, "%s", v);
    break;
  }
  if (f) fclose(f);
}

static const char *architecture(void) {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#elif defined(__riscv)
  return "riscv64";
#elif defined(__powerpc64__)
  return "ppc64le";
#elif defined(__s390x__)
  return "s390x";
#else
  return "arm";
#endif
}

/* --- the host's address
 * ------------------------------------------------------------------------------------------------- */

/* Links that Kubernetes and container engines make are not the host's own. */
static bool made_for_pods(const char *name) {
  static const char *const prefixes[] = {"kogge", "kg", "veth", "cni", "docker", "br-", "virbr", "flannel"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return true;
  return false;
}

static bool address_text(const struct ifaddrs *i, char buf[INET_ADDRSTRLEN]) {
  if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) return false;
  return inet_ntop(AF_INET, &((const struct sockaddr_in *)i->ifa_addr)->sin_addr, buf, INET_ADDRSTRLEN) != NULL;
}

/* Name of the link of the default route; "" if there is none. */
static void default_link(char name[IF_NAMESIZE]) {
  char line[256];
  FILE *f = fopen("/proc/net/route", "re");
  *name = 0;
  while (f && fgets(line, sizeof line, f)) {
    unsigned to, gateway, flags;
    char link[IF_NAMESIZE];
    if (sscanf(line, "%15s %x %x %x", link, &to, &gateway, &flags) == 4 && !to && (flags & 1)) {
      memcpy(name, link, IF_NAMESIZE);
      break;
    }
  }
  if (f) fclose(f);
}

char *host_ip(void) {
  struct ifaddrs *list = NULL;
  char route[IF_NAMESIZE], best[INET_ADDRSTRLEN] = "127.0.0.1", text[INET_ADDRSTRLEN];
  int rank = 0;
  default_link(route);
  if (getifaddrs(&list)) list = NULL;
  for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
    if (!(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK) || !address_text(i, text)) continue;
    int r = !strcmp(i->ifa_name, route) ? 3 : made_for_pods(i->ifa_name) ? 1 : 2;
    if (r > rank) {
      rank = r;
      memcpy(best, text, sizeof best);
    }
  }
  if (list) freeifaddrs(list);
  return strdup(rank > 1 ? best : "127.0.0.1");
}

/* --- thresholds, as the kubelet's evictionHard
 * ------------------------------------------------------------------------------ */

/* Amount of `total` that must stay free; configured as "100Mi" or "10%". */
static int64_t threshold(agent_t *a, const char *signal, const char *usual, int64_t total) {
  kg_str_t text = VIEW_STR(kg_config(a->ctx), "evictionHard", signal);
  int64_t value = 0;
  if (!text.n) text = kg_str(usual);
  if (text.p[text.n - 1] == '%') return (int64_t)((double)total * atof(text.p) / 100);
  return kube_quantity_value(text, &value) ? 0 : value;
}

typedef struct disk {
  int64_t size, free, inodes, inodes_free;
} disk_t;

static disk_t disk_of(agent_t *a) {
  struct statvfs fs;
  if (statvfs(kg_data_dir(a->ctx), &fs)) return (disk_t){0};
  return (disk_t){.size = (int64_t)(fs.f_blocks * fs.f_frsize),
                  .free = (int64_t)(fs.f_bavail * fs.f_frsize),
                  .inodes = (int64_t)fs.f_files,
                  .inodes_free = (int64_t)fs.f_favail};
}

static bool disk_pressure(agent_t *a) {
  disk_t d = disk_of(a);
  if (!d.size) return false;
  return d.free < threshold(a, "nodefs.available", "10%", d.size) ||
         (d.inodes && d.inodes_free < threshold(a, "nodefs.inodesFree", "5%", d.inodes));
}

static bool pid_pressure(agent_t *a) {
  struct sysinfo info;
  int64_t most = read_number("/proc/sys/kernel/pid_max");
  if (sysinfo(&info) || most <= 0) return false;
  return most - info.procs < threshold(a, "pid.available", "2%", most);
}

bool node_pressure(agent_t *a, int condition) {
  int64_t total = meminfo("MemTotal");
  if (condition == NODE_MEMORY)
    return total && meminfo("MemAvailable") < threshold(a, "memory.available", "100Mi", total);
  return condition == NODE_DISK ? disk_pressure(a) : pid_pressure(a);
}

/* --- what there is to give
 * ---------------------------------------------------------------------------------------------- */

static void ki(kube_arena_t *ar, kube_node_t *to, const char *key, int64_t bytes) {
  kube_set(ar, to, key, kube_strf(ar, "%lldKi", (long long)(bytes / 1024)));
}

/* Pages of every size the kernel knows: "hugepages-2Mi". Returns the bytes they hold. */
static int64_t hugepages(kube_arena_t *ar, kube_node_t *capacity, kube_node_t *allocatable) {
  DIR *d = opendir("/sys/kernel/mm/hugepages");
  int64_t all = 0;
  for (struct dirent *e; d && (e = readdir(d));) {
    long long size_kb;
    char path[512];
    if (sscanf(e->d_name, "hugepages-%lldkB", &size_kb) != 1 || size_kb <= 0) continue;
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%s/nr_hugepages", e->d_name);
    long long bytes = (long long)read_number(path) * size_kb * 1024;
    const char *key = size_kb % (1024 * 1024) == 0 ? kube_arena_fmt(ar, "hugepages-%lldGi", size_kb / 1024 / 1024)
                      : size_kb % 1024 == 0        ? kube_arena_fmt(ar, "hugepages-%lldMi", size_kb / 1024)
                                                   : kube_arena_fmt(ar, "hugepages-%lldKi", size_kb);
    char *amount = kube_quantity_canonical(kg_str(kube_arena_fmt(ar, "%lldKi", bytes / 1024)));
    kube_set(ar, capacity, key, kube_str(ar, amount && bytes ? amount : "0"));
    kube_set(ar, allocatable, key, kube_str(ar, amount && bytes ? amount : "0"));
    free(amount);
    all += bytes;
  }
  if (d) closedir(d);
  return all;
}

static bool is_extended(kg_str_t name) {
  return memchr(name.p, '/', name.n) != NULL;
}

/* Resources that somebody wrote into the node's capacity are given out, and no more once they are gone from there. */
static void extended(agent_t *a, kube_arena_t *ar, kube_node_t *allocatable) {
  const kg_doc_t *doc = kube_informer_get(a->node, (kg_str_t){NULL, 0}, kg_str(a->name));
  kg_view_t status = doc ? kg_view_get(kg_view_of(doc), "status") : (kg_view_t){0};
  kg_view_t capacity = kg_view_get(status, "capacity");
  for (kg_iter_t it = kg_iter(kg_view_get(status, "allocatable")); kg_iter_next(&it);)
    if (is_extended(kg_view_str(it.key)) && !kg_view_there(kg_view_get_str(capacity, kg_view_str(it.key))))
      kube_setn(ar, allocatable, kg_view_str(it.key), kube_nil(ar));
  for (kg_iter_t it = kg_iter(capacity); kg_iter_next(&it);)
    if (is_extended(kg_view_str(it.key)))
      kube_setn(ar, allocatable, kg_view_str(it.key), kube_strn(ar, kg_view_str(it.value)));
}

void node_resources(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  kube_node_t *capacity = kube_map(ar), *allocatable = kube_map(ar);
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t memory = meminfo("MemTotal"), kept = threshold(a, "memory.available", "100Mi", memory);
  disk_t d = disk_of(a);
  kube_node_t *const both[] = {capacity, allocatable};
  for (size_t i = 0; i < 2; i++) {
    kube_set(ar, both[i], "cpu", kube_strf(ar, "%ld", cpus));
    kube_set(ar, both[i], "pods", kube_strf(ar, "%lld", (long long)a->max_pods));
  }
  int64_t huge = hugepages(ar, capacity, allocatable);
  ki(ar, capacity, "ephemeral-storage", d.size);
  kube_set(ar, allocatable, "ephemeral-storage",
           kube_strf(ar, "%lld", (long long)(d.size - threshold(a, "nodefs.available", "10%", d.size))));
  ki(ar, capacity, "memory", memory);
  ki(ar, allocatable, "memory", memory > kept + huge ? memory - kept - huge : 0);
  if (a->node) extended(a, ar, allocatable);
  kube_set(ar, status, "capacity", capacity);
  kube_set(ar, status, "allocatable", allocatable);
}

int64_t node_allocatable(agent_t *a, const char *resource) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *status = kube_map(ar);
  int64_t milli = 0;
  node_resources(a, ar, status);
  kube_quantity_milli(kube_node_str(kube_path(status, "allocatable", resource, NULL)), &milli);
  kube_arena_free(ar);
  return milli;
}

/* --- who it is
 * ----------------------------------------------------------------------------------------------------------- */

static void addresses(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  const char *const pairs[][2] = {{"InternalIP", a->ip}, {"Hostname", a->name}};
  kube_node_t *list = kube_array(ar);
  for (size_t i = 0; i < 2; i++) {
    kube_node_t *one = kube_map(ar);
    kube_set(ar, one, "type", kube_str(ar, pairs[i][0]));
    kube_set(ar, one, "address", kube_str(ar, pairs[i][1]));
    kube_push(ar, list, one);
  }
  kube_set(ar, status, "addresses", list);
}

void boot_id(char buf[64]) {
  read_line("/proc/sys/kernel/random/boot_id", buf, 64);
}

static void node_info(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  static const char *const files[][2] = {{"machineID", "/etc/machine-id"},
                                         {"systemUUID", "/sys/class/dmi/id/product_uuid"},
                                         {"bootID", "/proc/sys/kernel/random/boot_id"}};
  char text[256], machine[64];
  struct utsname u;
  kube_node_t *info = kube_map(ar), *swap = kube_map(ar);
  read_line(files[0][1], machine, sizeof machine);
  for (size_t i = 0; i < 3; i++) {
    read_line(files[i][1], text, sizeof text);
    kube_set(ar, info, files[i][0], kube_str(ar, *text ? text : machine));
  }
  kube_set(ar, info, "kernelVersion", kube_str(ar, uname(&u) ? "" : u.release));
  os_image(text, sizeof text);
  kube_set(ar, info, "osImage", kube_str(ar, text));
  kube_set(ar, info, "containerRuntimeVersion",
           kube_strf(ar, "%s://%s", a->runtime_name ? a->runtime_name : "unknown",
                     a->runtime_version ? a->runtime_version : "Unknown"));
  kube_set(ar, info, "kubeletVersion", kube_str(ar, KUBELET_VERSION));
  kube_set(ar, info, "kubeProxyVersion", kube_str(ar, ""));
  kube_set(ar, info, "operatingSystem", kube_str(ar, "linux"));
  kube_set(ar, info, "architecture", kube_str(ar, architecture()));
  int64_t swap_bytes = meminfo("SwapTotal");
  kube_set(ar, swap, "capacity", kube_int(ar, swap_bytes));
  if (swap_bytes) kube_set(ar, info, "swap", swap);
  kube_set(ar, status, "nodeInfo", info);
}

/* The biggest ones, as many as a kubelet tells of. */
static void images(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  kube_node_t *list = kube_array(ar);
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(a->images), "images")); kg_iter_next(&it);) {
    static const char *const kinds[] = {"digests", "tags"};
    kube_node_t *one = kube_map(ar), *names = kube_array(ar);
    int64_t size = kg_view_int(kg_view_get(it.value, "size"), 0);
    uint32_t at = list->c.n;
    for (size_t i = 0; i < 2; i++)
      for (kg_iter_t n = kg_iter(kg_view_get(it.value, kinds[i])); kg_iter_next(&n);)
        if (names->c.n < 5) kube_push(ar, names, kube_strn(ar, kg_view_str(n.value)));
    if (!names->c.n) continue;
    kube_set(ar, one, "names", names);
    kube_set(ar, one, "sizeBytes", kube_int(ar, size));
    kube_push(ar, list, one);
    for (; at && kube_node_int(kube_get(list->c.items[at - 1], "sizeBytes"), 0) < size; at--)
      list->c.items[at] = list->c.items[at - 1];
    list->c.items[at] = one;
    if (list->c.n > MOST_IMAGES) kube_remove_at(list, MOST_IMAGES);
  }
  kube_set(ar, status, "images", list);
}

/* Of the runtime, under every name that pods may call it by. */
static void features(agent_t *a, kube_arena_t *ar, kube_node_t *status) {
  kube_node_t *list = kube_array(ar);
  kg_iter_t it = kg_iter(kg_view_get(kg_config(a->ctx), "runtimeHandlers"));
  const char *name = "";
  for (int i = 0; name; i++) {
    kube_node_t *one = kube_map(ar), *can = kube_sub(ar, one, "features");
    kube_set(ar, one, "name", kube_str(ar, name));
    kube_set(ar, can, "recursiveReadOnlyMounts", kube_bool(ar, a->mounts_recursively));
    kube_set(ar, can, "userNamespaces", kube_bool(ar, false));
    kube_push(ar, list, one);
    name = i == 0 ? a->runtime_name : NULL;
    if (!name && kg_iter_next(&it)) name = kube_arena_fmt(ar, KG_STR_FMT, KG_STR_ARG(kg_view_str(it.value)));
  }
  kube_set(ar, status, "runtimeHandlers", list);
  kube_set(ar, kube_sub(ar, status, "features"), "supplementalGroupsPolicy", kube_bool(ar, a->strict_groups));
}

kube_node_t *node_facts(agent_t *a, kube_arena_t *ar) {
  kube_node_t *status = kube_map(ar);
  addresses(a, ar, status);
  node_resources(a, ar, status);
  /* No daemonEndpoints: nothing listens; what a kubelet serves on its port comes through the API's proxy (page.c). */
  node_info(a, ar, status);
  features(a, ar, status);
  images(a, ar, status);
  return status;
}

void node_labels(agent_t *a, kube_arena_t *ar, kube_node_t *labels) {
  kube_set(ar, labels, "beta.kubernetes.io/arch", kube_str(ar, architecture()));
  kube_set(ar, labels, "beta.kubernetes.io/os", kube_str(ar, "linux"));
  kube_set(ar, labels, "kubernetes.io/arch", kube_str(ar, architecture()));
  kube_set(ar, labels, "kubernetes.io/hostname", kube_str(ar, a->name));
  kube_set(ar, labels, "kubernetes.io/os", kube_str(ar, "linux"));
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(a->ctx), "nodeLabels")); kg_iter_next(&it);)
    kube_setn(ar, labels, kg_view_str(it.key), kube_strn(ar, kg_view_str(it.value)));
}
