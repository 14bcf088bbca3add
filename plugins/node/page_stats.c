/* Readings as a kubelet words them: /stats/summary (JSON) and the metrics of resources and containers (text). */
#include <stdio.h>
#include <sys/statvfs.h>

#include "node.h"

static void time_of(kube_buf_t *b, const char *key, int64_t us) {
  char text[32];
  kube_time_format(us, text);
  kube_buf_fmt(b, "\"%s\":\"%s\"", key, text);
}

static void cpu_memory(kube_buf_t *b, int64_t at_us, const usage_t *u, int64_t rate) {
  kube_buf_addz(b, "\"cpu\":{");
  time_of(b, "time", at_us);
  kube_buf_fmt(b, ",\"usageNanoCores\":%lld,\"usageCoreNanoSeconds\":%lld},\"memory\":{", (long long)rate,
               (long long)u->cpu_ns);
  time_of(b, "time", at_us);
  kube_buf_fmt(b, ",\"usageBytes\":%lld,\"workingSetBytes\":%lld}", (long long)u->memory, (long long)u->working_set);
}

static void file_system(kube_buf_t *b, const char *dir, int64_t at_us) {
  struct statvfs st = {0};
  if (statvfs(dir, &st)) return;
  kube_buf_addz(b, ",\"fs\":{");
  time_of(b, "time", at_us);
  kube_buf_fmt(b,
               ",\"availableBytes\":%llu,\"capacityBytes\":%llu,\"usedBytes\":%llu,\"inodesFree\":%llu,\"inodes\":%llu,"
               "\"inodesUsed\":%llu}",
               (unsigned long long)st.f_bavail * st.f_frsize, (unsigned long long)st.f_blocks * st.f_frsize,
               (unsigned long long)(st.f_blocks - st.f_bfree) * st.f_frsize, (unsigned long long)st.f_ffree,
               (unsigned long long)st.f_files, (unsigned long long)(st.f_files - st.f_ffree));
}

static int64_t box_rate(const box_t *b, const sample_t *then, const sample_t *now, const usage_t *u) {
  usage_t before;
  return stats_of(then, kg_str(b->id), &before) ? stats_rate(then, now, before.cpu_ns, u->cpu_ns) : 0;
}

static void one_pod(kube_buf_t *b, const pod_t *p, const sample_t *then, const sample_t *now) {
  usage_t all = {0}, u;
  int64_t rate = 0;
  bool comma = false;
  kube_buf_fmt(
      b, "{\"podRef\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"startTime\":\"%s\",\"containers\":[",
      p->name, p->ns, p->uid, p->start_time);
  for (size_t i = 0; i < p->nboxes; i++) {
    const box_t *x = p->boxes[i];
    if (!x->id || !stats_of(now, kg_str(x->id), &u)) continue;
    int64_t own = box_rate(x, then, now, &u);
    kube_buf_fmt(b, "%s{\"name\":\"%s\",", comma ? "," : "", x->name);
    time_of(b, "startTime", x->started_us);
    kube_buf_addz(b, ",");
    cpu_memory(b, now->at_us, &u, own);
    kube_buf_addz(b, "}");
    all = (usage_t){all.cpu_ns + u.cpu_ns, all.memory + u.memory, all.working_set + u.working_set};
    rate += own;
    comma = true;
  }
  kube_buf_addz(b, "],");
  cpu_memory(b, now->at_us, &all, rate);
  kube_buf_addz(b, "}");
}

void page_summary(agent_t *a, const sample_t *then, const sample_t *now, kube_buf_t *b) {
  bool comma = false;
  kube_buf_fmt(b, "{\"node\":{\"nodeName\":\"%s\",", a->name);
  cpu_memory(b, now->at_us, &now->node, stats_rate(then, now, then->node.cpu_ns, now->node.cpu_ns));
  file_system(b, kg_data_dir(a->ctx), now->at_us);
  kube_buf_addz(b, "},\"pods\":[");
  for (const pod_t *p = a->list; p; p = p->next) {
    if (p->sandbox != SB_READY) continue;
    if (comma) kube_buf_addz(b, ",");
    one_pod(b, p, then, now);
    comma = true;
  }
  kube_buf_addz(b, "]}");
}

/* --- text -------------------------------------------------------------------------------------------------------- */

typedef struct series {
  const char *name, *kind;
  int which; /* 0: seconds of CPU, 1: working set, 2: memory in use */
} series_t;

static void value(kube_buf_t *b, const usage_t *u, int which, int64_t at_us) {
  if (which == 0)
    kube_buf_fmt(b, " %.6f", (double)u->cpu_ns / 1e9);
  else
    kube_buf_fmt(b, " %lld", (long long)(which == 1 ? u->working_set : u->memory));
  kube_buf_fmt(b, " %lld\n", (long long)(at_us / 1000));
}

static void boxes_of(agent_t *a, const sample_t *now, const series_t *s, kube_buf_t *b) {
  usage_t u;
  kube_buf_fmt(b, "# TYPE %s %s\n", s->name, s->kind);
  for (const pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; i < p->nboxes; i++) {
      const box_t *x = p->boxes[i];
      if (!x->id || !stats_of(now, kg_str(x->id), &u)) continue;
      kube_buf_fmt(b, "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"}", s->name, x->name, p->ns, p->name);
      value(b, &u, s->which, now->at_us);
    }
}

static void node_of(const sample_t *now, const series_t *s, kube_buf_t *b) {
  kube_buf_fmt(b, "# TYPE %s %s\n%s", s->name, s->kind, s->name);
  value(b, &now->node, s->which, now->at_us);
}

void page_usage(agent_t *a, const sample_t *now, bool of_cadvisor, kube_buf_t *b) {
  static const series_t cpu = {"container_cpu_usage_seconds_total", "counter", 0},
                        working_set = {"container_memory_working_set_bytes", "gauge", 1},
                        memory = {"container_memory_usage_bytes", "gauge", 2},
                        node_cpu = {"node_cpu_usage_seconds_total", "counter", 0},
                        node_memory = {"node_memory_working_set_bytes", "gauge", 1};
  boxes_of(a, now, &cpu, b);
  boxes_of(a, now, &working_set, b);
  if (of_cadvisor) return boxes_of(a, now, &memory, b);
  node_of(now, &node_cpu, b);
  node_of(now, &node_memory, b);
  kube_buf_addz(b, "# TYPE scrape_error gauge\nscrape_error 0\n");
}
