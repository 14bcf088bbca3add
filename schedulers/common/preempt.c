#include "preempt.h"

#include <stdio.h>
#include <stdlib.h>

#include "explain.h"
#include "kube/values.h"
#include "relations.h"

/* Kube-scheduler looks for so many candidates, not for all there may be. */
enum { CANDIDATES = 100 };

/* --- budgets ------------------------------------------------------------------------------------------------------ */

typedef struct budget {
  kg_view_t object;
  kube_selector_t *selector;
  int64_t left;
} budget_t;

typedef struct budgets {
  budget_t *of;
  size_t n;
} budgets_t;

static budgets_t budgets_read(const sched_t *s) {
  size_t n = kube_informer_count(s->budget_informer);
  budgets_t b = {.of = n ? calloc(n, sizeof *b.of) : NULL};
  for (size_t i = 0; b.of && i < n; i++) {
    kg_view_t v = kg_view_of(kube_informer_at(s->budget_informer, i)),
              selector = kg_view_path(v, "spec", "selector", NULL);
    kube_selector_t *made = kg_view_count(selector) ? kube_selector_of(selector, NULL) : NULL; /* empty: of no pod */
    if (made) b.of[b.n++] = (budget_t){.object = v, .selector = made};
  }
  return b;
}

static void budgets_free(budgets_t *b) {
  for (size_t i = 0; i < b->n; i++) kube_selector_free(b->of[i].selector);
  free(b->of);
}

static bool of_budget(const budget_t *b, const sched_pod_t *p) {
  kg_view_t gone = kg_view_path(b->object, "status", "disruptedPods", NULL);
  return kg_view_count(p->labels) && kg_str_eq(kube_namespace(b->object), p->space) &&
         kube_selector_matches(b->selector, p->labels) &&
         !kg_view_there(kg_view_get_str(gone, kube_name(kg_view_of(p->doc))));
}

/* In the order of importance each takes one off its budgets: those for whom none is left are guarded. */
static void guard(budgets_t *b, victim_t *all, size_t n) {
  for (size_t i = 0; i < b->n; i++)
    b->of[i].left = kg_view_int(kg_view_path(b->of[i].object, "status", "disruptionsAllowed", NULL), 0);
  for (size_t v = 0; v < n; v++)
    for (size_t i = 0; i < b->n; i++)
      if (of_budget(&b->of[i], all[v].pod) && --b->of[i].left < 0) all[v].guarded = true;
}

/* --- one node ----------------------------------------------------------------------------------------------------- */

typedef struct trial {
  kg_ctx_t *ctx;
  sched_t *s;
  sched_pod_t *p;
  uint32_t node;
  sched_verdict_t verdict;
} trial_t;

static void move(void *arg, victim_t *v, bool there) {
  trial_t *t = arg;
  sched_pod_t *other = v->pod;
  if (there) sched_count(t->s, other, (int32_t)t->node);
  relations_move(t->s, t->p, other, there ? 1 : -1);
  if (!there) sched_count(t->s, other, -1);
}

static bool fits(void *arg) {
  trial_t *t = arg;
  return sched_fits(t->ctx, t->s, t->p, t->node, &t->verdict);
}

static int64_t started(const sched_pod_t *p) {
  int64_t us = 0;
  kube_time_parse(kg_view_str(kg_view_path(kg_view_of(p->doc), "status", "startTime", NULL)), &us);
  return us;
}

/* Those less important, the most important of them first; NULL: there are none (or no memory). */
static victim_t *lesser(const sched_node_t *node, const sched_pod_t *p, size_t *n) {
  *n = 0;
  for (const sched_pod_t *g = node->guests; g; g = g->right) *n += g->priority < p->priority;
  victim_t *all = *n ? calloc(*n, sizeof *all) : NULL;
  size_t i = 0;
  for (sched_pod_t *g = node->guests; all && g; g = g->right)
    if (g->priority < p->priority)
      all[i++] =
          (victim_t){.pod = g, .priority = g->priority, .started_us = started(g), .going = g->deleting || g->told};
  if (all) victims_sort(all, *n);
  return all;
}

static bool try_node(trial_t *t, budgets_t *budgets, victims_t *out, reasons_t *reasons) {
  size_t n;
  victim_t *all = lesser(&t->s->nodes[t->node], t->p, &n);
  if (!all) {
    reasons_add(reasons, "No preemption victims found for incoming pod");
    return false;
  }
  guard(budgets, all, n);
  *out = (victims_t){.node = t->node};
  if (victims_choose(all, n, &(victims_trial_t){move, fits, t}, out)) return true;
  for (size_t i = 0; i < t->verdict.n; i++) reasons_add(reasons, t->verdict.reasons[i]);
  free(all);
  return false;
}

/* --- all nodes ---------------------------------------------------------------------------------------------------- */

static size_t most_candidates(size_t n) {
  return n / 10 > CANDIDATES ? n / 10 : CANDIDATES;
}

bool preempt_choose(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, const uint32_t *maybe, size_t n, size_t nodes,
                    victims_t *out, char *why, size_t size) {
  budgets_t budgets = budgets_read(s);
  reasons_t reasons = {.n = 0};
  trial_t t = {.ctx = ctx, .s = s, .p = p};
  size_t found = 0, gentle = 0, start = n ? kg_random(ctx) % n : 0;
  for (size_t i = 0; i < n && !(gentle && found >= most_candidates(n)); i++) {
    victims_t v;
    t.node = maybe[(start + i) % n];
    if (!try_node(&t, &budgets, &v, &reasons)) continue;
    gentle += !v.broken;
    bool better = !found++ || victims_better(&v, out);
    free(better ? (found > 1 ? out->of : NULL) : v.of);
    if (better) *out = v;
  }
  budgets_free(&budgets);
  *why = 0;
  if (found) return true;
  for (size_t i = n; i < nodes; i++) reasons_add(&reasons, "Preemption is not helpful for scheduling");
  reasons_say(&reasons, nodes, why, size);
  return false;
}

/* --- who may ------------------------------------------------------------------------------------------------------ */

static bool going_for_another(const sched_pod_t *p) {
  kg_view_t target = p->deleting ? kube_condition_of(kg_view_of(p->doc), "DisruptionTarget") : (kg_view_t){0};
  return kg_str_is(kg_view_str(kg_view_get(target, "status")), "True") &&
         kg_str_is(kg_view_str(kg_view_get(target, "reason")), "PreemptionByScheduler");
}

static const char ENDING[] = "not eligible due to a terminating pod on the nominated node.";

const char *preempt_forbidden(const sched_t *s, const sched_pod_t *p, bool refused_for_good) {
  if (kg_str_is(kg_view_str(kg_view_get(p->spec, "preemptionPolicy")), "Never"))
    return "not eligible due to preemptionPolicy=Never.";
  if (p->evicting) return ENDING;
  if (p->nominee < 0 || refused_for_good) return NULL;
  for (const sched_pod_t *g = s->nodes[p->nominee].guests; g; g = g->right)
    if (g->priority < p->priority && (g->told || going_for_another(g))) return ENDING;
  return NULL;
}

/* --- nominees ----------------------------------------------------------------------------------------------------- */

void sched_nominate(sched_t *s, sched_pod_t *p, int32_t node) {
  if (p->nominee >= 0 && node < 0) {
    sched_pod_t **at = &s->nominees;
    while (*at != p) at = &(*at)->next_nominee;
    *at = p->next_nominee;
  } else if (p->nominee < 0 && node >= 0) {
    p->next_nominee = s->nominees;
    s->nominees = p;
  }
  p->nominee = node;
}

void sched_read_nominee(sched_t *s, sched_pod_t *p, kg_view_t old) {
  kg_str_t name = kg_view_str(kg_view_path(kg_view_of(p->doc), "status", "nominatedNodeName", NULL));
  sched_node_t *n = name.n ? sched_node_named(s, name) : NULL;
  bool had = kg_view_str(kg_view_path(old, "status", "nominatedNodeName", NULL)).n > 0;
  if (n)
    sched_nominate(s, p, (int32_t)(n - s->nodes));
  else if (name.n || had) /* what was chosen a moment ago is not in the document yet */
    sched_nominate(s, p, -1);
}

bool nominees_assume(sched_t *s, const sched_pod_t *p) {
  bool any = false;
  for (sched_pod_t *q = s->nominees; q; q = q->next_nominee) {
    q->assumed = q != p && q->node < 0 && q->priority >= p->priority;
    if (q->assumed) sched_count(s, q, q->nominee);
    any |= q->assumed;
  }
  return any;
}

void nominees_release(sched_t *s) {
  for (sched_pod_t *q = s->nominees; q; q = q->next_nominee) {
    if (q->assumed) sched_count(s, q, -1);
    q->assumed = false;
  }
}
