/* Pods of the pretended nodes: from bound to running to ended, as their annotations say. */
#include <stdio.h>

#include "sim.h"

enum { FIRST_ROOM = 256, BACKOFF_FIRST_MS = 10000, BACKOFF_LAST_MS = 300000, RETRY_MS = 1000 };
#define PREFIX "sim.kogge.dev/"

static const kube_gvr_t PODS = {"", "v1", "pods"};

static kg_str_t value_of(kg_view_t from, const char *prefix, const char *key) {
  char name[128];
  snprintf(name, sizeof name, "%s%s", prefix, key);
  return kg_view_str(kg_view_get(from, name));
}

void script_read(script_t *s, kg_view_t from, const char *prefix) {
  const struct {
    const char *key;
    int64_t *to;
  } times[] = {{"start-delay", &s->start_delay},
               {"ready-after", &s->ready_after},
               {"unready-after", &s->unready_after},
               {"run-time", &s->run_time},
               {"stop-delay", &s->stop_delay}};
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    kg_str_t v = value_of(from, prefix, times[i].key);
    if (kg_str_is(v, "forever") || kg_str_is(v, "never"))
      *times[i].to = -1;
    else if (v.n)
      kube_duration_ms(v, times[i].to);
  }
  kg_str_t v = value_of(from, prefix, "exit-code");
  if (v.n) s->nexits = kube_quantity_list(v, s->exits, SCRIPT_EXITS);
  if ((v = value_of(from, prefix, "oom")).n) s->oom = kg_str_is(v, "true");
  if ((v = value_of(from, prefix, "pull-error")).p)
    snprintf(s->pull_error, sizeof s->pull_error, KG_STR_FMT, KG_STR_ARG(v));
}

/* --- table by uid
 * -------------------------------------------------------------------------------------------------------- */

static size_t slot(const sim_t *s, kg_str_t uid) {
  return kg_hash_str(KG_HASH_START, uid) & (s->room - 1);
}

static pod_t *find(const sim_t *s, kg_str_t uid) {
  for (pod_t *p = s->room ? s->table[slot(s, uid)] : NULL; p; p = p->next)
    if (kg_str_is(uid, p->uid)) return p;
  return NULL;
}

static void grow(sim_t *s) {
  pod_t **old = s->table;
  size_t n = s->room, room = n ? 2 * n : FIRST_ROOM;
  pod_t **table = calloc(room, sizeof *table);
  if (!table) return;
  s->table = table;
  s->room = room;
  for (size_t i = 0; i < n; i++)
    for (pod_t *p = old[i], *next; p; p = next) {
      next = p->next;
      size_t at = slot(s, kg_str(p->uid));
      p->next = table[at];
      table[at] = p;
    }
  free(old);
}

static pod_t *add(sim_t *s, kg_view_t object, uint32_t node) {
  if (s->pods >= s->room) grow(s);
  pod_t *p = s->room ? calloc(1, sizeof *p) : NULL;
  if (!p) return NULL;
  p->sim = s;
  p->uid = kg_str_dup(kube_uid(object));
  p->ns = kg_str_dup(kube_namespace(object));
  p->name = kg_str_dup(kube_name(object));
  p->node = node;
  size_t at = slot(s, kube_uid(object));
  p->next = s->table[at];
  s->table[at] = p;
  s->pods++;
  return p;
}

static void drop(pod_t *p) {
  sim_t *s = p->sim;
  for (pod_t **at = &s->table[slot(s, kg_str(p->uid))]; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  kg_timer_cancel(s->ctx, p->timer);
  if (p->call) kg_cancel(s->ctx, p->call);
  free(p->uid);
  free(p->ns);
  free(p->name);
  free(p);
  s->pods--;
}

void pods_free(sim_t *s) {
  for (size_t i = 0; i < s->room; i++)
    while (s->table[i]) drop(s->table[i]);
  free(s->table);
  s->table = NULL;
  s->room = 0;
}

/* --- telling the API
 * ----------------------------------------------------------------------------------------------------- */

kg_view_t pod_object(const pod_t *p) {
  return kg_view_of(kube_informer_get(p->sim->informer, kg_str(p->ns), kg_str(p->name)));
}

static void send(pod_t *p);

static void on_resend(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  pod_t *p = arg;
  p->timer = 0;
  send(p);
}

static void on_time(kg_ctx_t *ctx, void *self, void *arg);
static void arm(pod_t *p);
static void finish(pod_t *p);

static void sent(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  pod_t *p = arg;
  p->call = 0;
  p->sending = false;
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) != KG_ENOTFOUND) {
    kg_timer_cancel(ctx, p->timer);
    p->timer = kg_timer(ctx, RETRY_MS, 0, p->delete_sent ? on_time : on_resend, p);
    p->delete_sent = false;
    return;
  }
  if (p->again) return send(p);
  if (p->timer || p->delete_sent) return;
  if (p->deleting)
    finish(p);
  else
    arm(p);
}

static void send(pod_t *p) {
  p->again = p->sending;
  if (p->sending || !p->sim->active) return;
  kg_doc_t *doc = pod_patch(p);
  if (!doc) return;
  p->sending = true;
  p->call = kube_api_patch(
      p->sim->ctx,
      &(kube_call_t){
          .gvr = PODS, .ns = p->ns, .name = p->name, .sub = "status", .patch_type = "strategic", .object = doc},
      sent, p);
  kg_doc_unref(doc);
}

static void delete_now(pod_t *p) {
  if (p->delete_sent) return;
  if (p->call) kg_cancel(p->sim->ctx, p->call);
  p->delete_sent = p->sending = true;
  p->again = false;
  p->call = kube_api_delete(
      p->sim->ctx,
      &(kube_call_t){.gvr = PODS, .ns = p->ns, .name = p->name, .precondition_uid = p->uid, .grace_seconds = 0}, sent,
      p);
}

/* --- how it goes
 * --------------------------------------------------------------------------------------------------------- */

static int64_t now_ms(const pod_t *p) {
  return kg_wall_us(p->sim->ctx) / 1000;
}

static int64_t ran_ms(const pod_t *p) {
  return now_ms(p) - p->started_us / 1000;
}

bool pod_ready(const pod_t *p) {
  const script_t *s = &p->script;
  return p->state == P_RUNNING && s->ready_after >= 0 && ran_ms(p) >= s->ready_after &&
         (s->unready_after < 0 || ran_ms(p) < s->unready_after);
}

/* When something happens next, in milliseconds from now; -1: nothing does. */
static int64_t next_in(const pod_t *p) {
  const script_t *s = &p->script;
  const int64_t turns[] = {s->run_time, s->ready_after, s->unready_after};
  int64_t next = -1;
  if (p->state == P_NEW) return s->start_delay > 0 ? s->start_delay : 0;
  if (p->state == P_WAITING) {
    next = p->finished_us / 1000 + p->backoff_ms - now_ms(p);
    return next > 0 ? next : 0;
  }
  if (p->state != P_RUNNING) return -1;
  if (s->run_time >= 0 && ran_ms(p) >= s->run_time) return 0;
  for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
    int64_t in = turns[i] < 0 ? -1 : turns[i] - ran_ms(p);
    if (in > 0 && (next < 0 || in < next)) next = in;
  }
  return next;
}

static void arm(pod_t *p) {
  int64_t ms = next_in(p);
  kg_timer_cancel(p->sim->ctx, p->timer);
  p->timer = ms < 0 ? 0 : kg_timer(p->sim->ctx, ms, 0, on_time, p);
}

static void begin(pod_t *p) {
  sim_t *s = p->sim;
  p->state = *p->script.pull_error ? P_PULLING : P_RUNNING;
  p->started_us = kg_wall_us(s->ctx);
  if (!p->start_us) p->start_us = p->started_us;
  if (!p->ip && s->ips) p->ip = s->first_ip + s->next_ip++ % s->ips;
}

/* The containers have ended: for good, or until they are started again. The first restart comes at once. */
static void end(pod_t *p) {
  const script_t *s = &p->script;
  kg_str_t policy = kg_view_str(kg_view_path(pod_object(p), "spec", "restartPolicy", NULL));
  p->code = s->oom ? CODE_KILLED : s->exits[p->restarts < (int64_t)s->nexits ? p->restarts : (int64_t)s->nexits - 1];
  bool again = kg_str_is(policy, "OnFailure") ? p->code != 0 : !kg_str_is(policy, "Never");
  p->finished_us = kg_wall_us(p->sim->ctx);
  p->was_ended = true;
  p->state = again ? P_WAITING : P_ENDED;
  if (!again) return;
  if (p->restarts++ == 0) {
    begin(p);
    return;
  }
  p->backoff_ms = !p->backoff_ms ? BACKOFF_FIRST_MS : 2 * p->backoff_ms;
  if (p->backoff_ms > BACKOFF_LAST_MS) p->backoff_ms = BACKOFF_LAST_MS;
}

/* Of a deleted one the API hears first how it ended, then that it may go. */
static void finish(pod_t *p) {
  if (p->state == P_ENDED && !p->sending) return delete_now(p);
  if (p->state == P_ENDED) return;
  p->unborn = p->state == P_NEW || p->state == P_PULLING;
  if (p->state != P_WAITING) {
    p->code = p->unborn ? CODE_KILLED : CODE_TERMINATED;
    p->finished_us = kg_wall_us(p->sim->ctx);
  }
  if (!p->start_us) p->start_us = p->finished_us;
  p->state = P_ENDED;
  send(p);
}

static void on_time(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  pod_t *p = arg;
  p->timer = 0;
  if (!p->sim->active) return;
  if (p->deleting) return finish(p);
  if (p->state == P_RUNNING && p->script.run_time >= 0 && now_ms(p) >= p->started_us / 1000 + p->script.run_time)
    end(p);
  else if (p->state != P_RUNNING)
    begin(p);
  send(p);
  arm(p);
}

static void start_deletion(pod_t *p) {
  sim_t *s = p->sim;
  if (p->deleting) return;
  kg_timer_cancel(s->ctx, p->timer);
  int64_t delay = p->state == P_RUNNING && p->script.stop_delay > 0 ? p->script.stop_delay : 0;
  p->deleting = true;
  p->timer = kg_timer(s->ctx, delay, 0, on_time, p);
}

/* What the API says of a pod of an earlier time is how it is. */
static void recall(pod_t *p, kg_view_t object) {
  kg_view_t status = kg_view_get(object, "status"), c = kg_view_at(kg_view_get(status, "containerStatuses"), 0);
  kg_str_t phase = kg_view_str(kg_view_get(status, "phase"));
  kg_str_t since = kg_view_str(kg_view_path(c, "state", "running", "startedAt", NULL));
  unsigned ip[4];
  char text[32];
  if (kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed")) p->state = P_ENDED;
  if (!kg_str_is(phase, "Running")) return;
  p->state = P_RUNNING;
  p->restarts = kg_view_int(kg_view_get(c, "restartCount"), 0);
  kube_time_parse(kg_view_str(kg_view_get(status, "startTime")), &p->start_us);
  if (!since.n || kube_time_parse(since, &p->started_us)) p->started_us = kg_wall_us(p->sim->ctx);
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(status, "podIP"))));
  if (sscanf(text, "%u.%u.%u.%u", &ip[0], &ip[1], &ip[2], &ip[3]) == 4)
    p->ip = ip[0] << 24 | ip[1] << 16 | ip[2] << 8 | ip[3];
}

static void seen(sim_t *s, kg_view_t object) {
  uint32_t node;
  if (!node_index(s, kg_view_str(kg_view_path(object, "spec", "nodeName", NULL)), &node)) return;
  pod_t *p = find(s, kube_uid(object));
  bool fresh = !p;
  if (fresh && !(p = add(s, object, node))) return;
  if (fresh) {
    p->script = s->usual;
    script_read(&p->script, kg_view_path(object, "metadata", "annotations", NULL), PREFIX);
    recall(p, object);
  }
  if (kube_deleting(object)) return start_deletion(p);
  if (fresh) arm(p);
}

void pods_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)arg;
  sim_t *s = self;
  if (!s->active) return;
  bool other = change == KUBE_MODIFIED && !kg_str_eq(kube_uid(old), kube_uid(now));
  pod_t *gone = change == KUBE_DELETED || other ? find(s, kube_uid(other ? old : now)) : NULL;
  if (gone) drop(gone);
  if (change != KUBE_DELETED) seen(s, now);
}

void pods_adopt(sim_t *s) {
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(s->informer, i)); i++) seen(s, kg_view_of(doc));
}
