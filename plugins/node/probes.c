/* Probes of running containers: when they are due, what their results mean. */
#include "node.h"

enum { MOST_OUTPUT = 10240 };

static const char *const fields[] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const names[] = {"Startup", "Liveness", "Readiness"};

static kg_view_t spec_of(const probe_t *pr) {
  return kg_view_get(box_spec(pr->box), fields[pr->kind]);
}

static int64_t number(const probe_t *pr, const char *key, int64_t least) {
  int64_t n = kg_view_int(kg_view_get(spec_of(pr), key), least);
  return n < least ? least : n;
}

static kg_ctx_t *ctx_of(const probe_t *pr) {
  return pr->box->pod->agent->ctx;
}

static void due(probe_t *pr, int64_t ms);

/* --- exec
 * ---------------------------------------------------------------------------------------------------------------- */

static void exec_came(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  probe_t *pr = arg;
  kg_view_t args = kg_msg_args(m);
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    kg_str_t data = kg_view_bin(kg_view_get(args, "data"));
    size_t room = MOST_OUTPUT - pr->out.n;
    kube_buf_add(&pr->out, data.p ? data.p : "", data.n < room ? data.n : room);
    pr->exit = kg_view_int(kg_view_get(args, "exit"), pr->exit);
    return;
  }
  pr->call = 0;
  if (kg_msg_code(m) == KG_EUNAVAILABLE) return probe_unknown(pr, NULL); /* the runtime is being replaced */
  if (kg_msg_type(m) == KG_MSG_ERROR || pr->exit < 0)
    return probe_unknown(pr, kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_text(m) : "the command ended without a code");
  char *text = kg_str_dup((kg_str_t){pr->out.p ? pr->out.p : "", pr->out.n});
  probe_done(pr, pr->exit == 0, text ? text : "");
  free(text);
}

static void exec_start(probe_t *pr, kg_view_t exec) {
  agent_t *a = pr->box->pod->agent;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", pr->box->id);
  kg_pack_kv_view(&p, "command", kg_view_get(exec, "command"));
  kg_pack_kv_bool(&p, "tty", false);
  kg_pack_kv_bool(&p, "stdin", false);
  kg_pack_kv_bool(&p, "stdout", true);
  kg_pack_kv_bool(&p, "stderr", true);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  pr->exit = -1;
  pr->call = kg_send(a->ctx, &(kg_request_t){.service = a->runtime,
                                             .topic = "runtime.exec",
                                             .args = args,
                                             .stream = true,
                                             .timeout_ms = -1,
                                             .fn = exec_came,
                                             .arg = pr});
  kg_doc_unref(args);
}

static char *command_text(kg_view_t command) {
  kube_buf_t b = {0};
  for (kg_iter_t it = kg_iter(command); kg_iter_next(&it);)
    kube_buf_fmt(&b, "%s" KG_STR_FMT, b.n ? " " : "", KG_STR_ARG(kg_view_str(it.value)));
  kube_buf_add(&b, "", 1);
  return b.p;
}

static void on_exec_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  probe_t *pr = arg;
  pr->timeout = 0;
  char *command = command_text(kg_view_path(spec_of(pr), "exec", "command", NULL));
  char *text = format("command \"%s\" timed out", command ? command : "");
  probe_done(pr, false, text ? text : "");
  free(text);
  free(command);
}

/* --- one turn
 * ------------------------------------------------------------------------------------------------------------ */

void probe_quiet(probe_t *pr) {
  kg_ctx_t *ctx = ctx_of(pr);
  if (pr->call) kg_cancel(ctx, pr->call);
  kg_timer_cancel(ctx, pr->timeout);
  pr->call = pr->timeout = 0;
  probe_net_free(pr);
  kube_buf_free(&pr->out);
  pr->out = (kube_buf_t){0};
}

static void stop(probe_t *pr) {
  pr->on = false;
  probe_quiet(pr);
  kg_timer_cancel(ctx_of(pr), pr->timer);
  pr->timer = 0;
}

static void turn(probe_t *pr) {
  box_t *b = pr->box;
  kg_view_t spec = spec_of(pr), exec = kg_view_get(spec, "exec");
  bool waits = pr->kind != PROBE_STARTUP && !box_started(b);
  if (!pr->on || !b->id || b->state != BOX_RUNNING || waits) return; /* the startup probe's success wakes the others */
  if (pr->kind != PROBE_READINESS && kube_deleting(pod_object(b->pod))) return stop(pr); /* it ends anyway */
  probe_quiet(pr);
  pr->began_ms = kg_now_ms(ctx_of(pr));
  if (kg_view_type(exec) == KG_V_MAP) {
    exec_start(pr, exec);
    pr->timeout = kg_timer(ctx_of(pr), number(pr, "timeoutSeconds", 1) * 1000, 0, on_exec_timeout, pr);
  } else
    probe_connect(pr, spec);
}

static void on_due(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  probe_t *pr = arg;
  pr->timer = 0;
  if (!pr->call && !pr->net) turn(pr);
}

static void due(probe_t *pr, int64_t ms) {
  if (pr->timer) return;
  pr->timer = kg_timer(ctx_of(pr), ms, 0, on_due, pr);
}

/* --- results
 * ------------------------------------------------------------------------------------------------------------- */

/* Liveness or startup has failed for good: the container ends, and its restart policy says what then. */
static void kill_box(probe_t *pr) {
  box_t *b = pr->box;
  int64_t own = kg_view_int(kg_view_get(spec_of(pr), "terminationGracePeriodSeconds"), -1);
  int64_t grace = own >= 0 ? own * 1000 : box_grace(b);
  bool never = box_policy_is(b, "Never") && b->kind != BOX_SIDECAR;
  const char *what = pr->kind == PROBE_STARTUP ? "startup" : "liveness";
  for (int i = 0; i < PROBE_KINDS; i++)
    if (i != PROBE_READINESS) stop(&b->probe[i]);
  box_event(b, "Normal", "Killing", "Container %s failed %s probe%s", b->name, what,
            never ? "" : ", will be restarted");
  (never ? box_stop : box_renew)(b, grace);
}

static void changed(probe_t *pr) {
  box_t *b = pr->box;
  if (pr->kind == PROBE_STARTUP && pr->good) {
    stop(pr);
    for (int i = PROBE_LIVENESS; i <= PROBE_READINESS; i++) /* at once, or when their initial delay is over */
      if (b->probe[i].there && !b->probe[i].timer) due(&b->probe[i], 0);
  }
  if (!pr->good && pr->kind != PROBE_READINESS) kill_box(pr);
  pod_kick(b->pod);
}

static void count(probe_t *pr, bool good) {
  pr->successes = good ? pr->successes + 1 : 0;
  pr->failures = good ? 0 : pr->failures + 1;
  if (good ? pr->successes < number(pr, "successThreshold", 1) : pr->failures < number(pr, "failureThreshold", 1))
    return;
  bool news = !pr->known || pr->good != good;
  pr->known = true;
  pr->good = good;
  if (news || (!good && pr->kind != PROBE_READINESS)) changed(pr);
}

/* The next turn: a period after this one began. */
static void next(probe_t *pr) {
  int64_t wait_ms = pr->began_ms + number(pr, "periodSeconds", 1) * 1000 - kg_now_ms(ctx_of(pr));
  if (pr->on) due(pr, wait_ms > 0 ? wait_ms : 0);
}

void probe_done(probe_t *pr, bool good, const char *text) {
  if (!good) box_event(pr->box, "Warning", "Unhealthy", "%s probe failed: %s", names[pr->kind], text);
  probe_quiet(pr);
  next(pr);
  count(pr, good);
}

void probe_unknown(probe_t *pr, const char *text) {
  if (text && pr->box->state == BOX_RUNNING)
    box_event(pr->box, "Warning", "Unhealthy", "%s probe errored and resulted in unknown state: %s", names[pr->kind],
              text);
  probe_quiet(pr);
  next(pr);
}

void probe_warning(probe_t *pr, const char *text) {
  box_event(pr->box, "Warning", "ProbeWarning", "%s probe warning: %s", names[pr->kind], text);
  probe_quiet(pr);
  next(pr);
  count(pr, true);
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------------- */

/* After a restart of the agent, what it told the API about this very container still holds. */
static void recall(box_t *b) {
  static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
  kg_view_t status = kg_view_get(pod_object(b->pod), "status");
  char own[SHOWN_ID];
  size_t n = SHOWN_ID - 1;
  for (size_t i = 0; b->id && i < 2; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(status, lists[i])); kg_iter_next(&it);) {
      kg_str_t id = VIEW_STR(it.value, "containerID");
      if (!kg_str_is(VIEW_STR(it.value, "name"), b->name) || id.n < n ||
          memcmp(id.p + id.n - n, box_shown_id(b->id, own), n))
        continue;
      probe_t *startup = &b->probe[PROBE_STARTUP], *readiness = &b->probe[PROBE_READINESS];
      if (startup->there && kg_view_bool(kg_view_get(it.value, "started"), false)) {
        startup->known = startup->good = true;
        stop(startup);
      }
      if (readiness->there && kg_view_bool(kg_view_get(it.value, "ready"), false))
        readiness->known = readiness->good = true;
    }
}

void probes_start(box_t *b) {
  kg_ctx_t *ctx = b->pod->agent->ctx;
  int64_t age_ms = b->started_us ? (kg_wall_us(ctx) - b->started_us) / 1000 : 0;
  if (age_ms < 0) age_ms = 0; /* the clock was put back */
  probes_stop(b);
  for (int i = 0; i < PROBE_KINDS; i++) {
    probe_t *pr = &b->probe[i];
    *pr = (probe_t){.box = b, .kind = (probe_kind_t)i, .exit = -1};
    pr->there = pr->on = kg_view_type(spec_of(pr)) == KG_V_MAP;
    if (!pr->there) continue;
    pr->good = i == PROBE_LIVENESS; /* as long as nothing else is known */
    int64_t delay = number(pr, "initialDelaySeconds", 0) * 1000 - age_ms;
    due(pr, delay > 0 ? delay : 0);
  }
  recall(b);
}

/* Results stay: what the container's end says about readiness is box.c's to say. */
void probes_stop(box_t *b) {
  for (int i = 0; i < PROBE_KINDS; i++)
    if (b->probe[i].box) stop(&b->probe[i]);
}
