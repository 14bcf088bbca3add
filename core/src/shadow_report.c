#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow_internal.h"

#define SNIPPET 300

/* --- counting ------------------------------------------------------------------------------------------------------
 */

/* The values of the arguments that tell groups apart, with slashes between. */
static void group_of(const kg_shadow_t *s, const kg_msg_t *m, char *out, size_t room) {
  size_t n = 0;
  *out = 0;
  for (char **by = s->o.by; by && *by && n < room; by++) {
    kg_str_t v = kg_view_str(kg_view_get(kg_msg_args(m), *by));
    if (v.n) n += (size_t)snprintf(out + n, room - n, "%s%.*s", n ? "/" : "", KG_STR_ARG(v));
  }
}

kg_tally_t *kg_tally_of(kg_shadow_t *s, kg_side_t side, const kg_msg_t *m) {
  char by[sizeof s->tallies->by];
  group_of(s, m, by, sizeof by);
  kg_tally_t **at = &s->tallies;
  while (*at && ((*at)->side != side || strcmp((*at)->topic, kg_msg_topic(m)) != 0 || strcmp((*at)->by, by) != 0)) {
    at = &(*at)->next;
    if (*at && !(*at)->next && s->ntallies >= KG_SHADOW_GROUPS) return *at; /* the last one takes all the rest */
  }
  if (!*at && (*at = calloc(1, sizeof **at)) != NULL) {
    (*at)->side = side;
    snprintf((*at)->topic, sizeof(*at)->topic, "%s", s->ntallies < KG_SHADOW_GROUPS - 1 ? kg_msg_topic(m) : "...");
    snprintf((*at)->by, sizeof(*at)->by, "%s", by);
    s->ntallies++;
  }
  return *at;
}

char *kg_snippet(kg_view_t v, const char *text, size_t most) {
  char *json = kg_view_there(v) ? kg_view_to_json(v) : strdup(text);
  if (!json || strlen(json) <= most) return json;
  size_t n = most;
  while (n && ((uint8_t)json[n] & 0xc0) == 0x80) n--;
  strcpy(json + n, n + 4 <= strlen(json) ? "..." : "");
  return json;
}

static void show(kg_shadow_t *s, kg_tally_t *t, const kg_msg_t *request, const kg_difference_t *d) {
  if (s->nshown == KG_SHADOW_SHOWN) return;
  kg_shown_t *w = &s->shown[s->nshown++];
  w->tally = t;
  snprintf(w->path, sizeof w->path, "%s", d->path);
  w->args = request ? kg_snippet(kg_msg_args(request), "", SNIPPET) : NULL;
  w->live = kg_snippet(d->a, d->ta, SNIPPET);
  w->candidate = kg_snippet(d->b, d->tb, SNIPPET);
}

bool kg_shadow_count(kg_shadow_t *s, kg_tally_t *t, const kg_msg_t *live, const kg_msg_t *candidate,
                     const kg_msg_t *request, kg_difference_t *d) {
  if (!kg_messages_differ(live, candidate, s->o.ignore, d)) {
    t->equal++;
    return true;
  }
  t->different++;
  show(s, t, request, d);
  return false;
}

void kg_times_add(kg_times_t *t, int64_t us) {
  t->us[t->count++ % KG_SHADOW_TIMES] = us < 0 ? 0 : us;
}

/* --- telling -------------------------------------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void pack_times(kg_pack_t *p, const char *key, const kg_times_t *t) {
  size_t n = t->count < KG_SHADOW_TIMES ? (size_t)t->count : KG_SHADOW_TIMES;
  int64_t *sorted = malloc((n + 1) * sizeof *sorted);
  kg_pack_key(p, key);
  kg_pack_map(p);
  kg_pack_kv_int(p, "count", (int64_t)t->count);
  if (sorted && n) {
    memcpy(sorted, t->us, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    kg_pack_kv_int(p, "p50_us", sorted[n / 2]);
    kg_pack_kv_int(p, "p99_us", sorted[n * 99 / 100]);
    kg_pack_kv_int(p, "max_us", sorted[n - 1]);
  }
  kg_pack_end(p);
  free(sorted);
}

/* What waits for its partner in exchanges of this topic. */
static uint64_t waiting(const kg_shadow_t *s, const kg_tally_t *t) {
  uint64_t n = 0;
  for (size_t i = 0; i < s->exchanges.room; i++) {
    const kg_exchange_t *e = s->exchanges.slots[i].value;
    if (s->exchanges.slots[i].key && e && e->tally == t) n += e->stream ? e->live.count + e->candidate.count : 1;
  }
  for (const kg_exchange_t *e = s->events; e; e = e->next)
    if (e->tally == t) n += e->live.count + e->candidate.count;
  return n;
}

static void add(kg_tally_t *sum, const kg_tally_t *t) {
  sum->equal += t->equal;
  sum->different += t->different;
  sum->only_live += t->only_live;
  sum->only_candidate += t->only_candidate;
}

static void pack_counts(kg_pack_t *p, const kg_tally_t *t, uint64_t pending) {
  kg_pack_kv_int(p, "equal", (int64_t)t->equal);
  kg_pack_kv_int(p, "different", (int64_t)t->different);
  kg_pack_kv_int(p, "only_live", (int64_t)t->only_live);
  kg_pack_kv_int(p, "only_candidate", (int64_t)t->only_candidate);
  kg_pack_kv_int(p, "pending", (int64_t)pending);
}

static const char *const sides[] = {"answers", "requests", "events"};

static void pack_group(kg_shadow_t *s, kg_pack_t *p, const kg_tally_t *t, kg_tally_t *sum, uint64_t *pending) {
  uint64_t left = 0, open = 0;
  kg_tally_t now = *t;
  if (t->side == KG_SIDE_REQUEST)
    kg_shadow_calls_left(s, t, &left, &open);
  else
    open = waiting(s, t);
  now.only_live += left;
  add(sum, &now);
  *pending += open;
  kg_pack_map(p);
  kg_pack_kv_str(p, "what", sides[t->side]);
  kg_pack_kv_str(p, "topic", t->topic);
  if (*t->by) kg_pack_kv_str(p, "by", t->by);
  pack_counts(p, &now, open);
  kg_pack_end(p);
}

static void pack_shown(kg_pack_t *p, const kg_shown_t *w) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "what", sides[w->tally->side]);
  kg_pack_kv_str(p, "topic", w->tally->topic);
  if (*w->tally->by) kg_pack_kv_str(p, "by", w->tally->by);
  kg_pack_kv_str(p, "path", w->path);
  kg_pack_kv_str(p, "live", w->live);
  kg_pack_kv_str(p, "candidate", w->candidate);
  if (w->args) kg_pack_kv_str(p, "args", w->args);
  kg_pack_end(p);
}

void kg_shadow_report(kg_shadow_t *s, kg_pack_t *p) {
  kg_tally_t sums[KG_SIDES] = {0};
  uint64_t pending[KG_SIDES] = {0};
  kg_pack_kv_int(p, "messages", (int64_t)s->messages);
  kg_pack_kv_int(p, "skipped", (int64_t)s->skipped);
  kg_pack_kv_int(p, "strange_answers", (int64_t)s->strange);
  kg_pack_key(p, "groups");
  kg_pack_array(p);
  for (const kg_tally_t *t = s->tallies; t; t = t->next) pack_group(s, p, t, &sums[t->side], &pending[t->side]);
  kg_pack_end(p);
  for (int i = 0; i < KG_SIDES; i++) {
    kg_pack_key(p, sides[i]);
    kg_pack_map(p);
    pack_counts(p, &sums[i], pending[i]);
    kg_pack_end(p);
  }
  kg_pack_key(p, "latency");
  kg_pack_map(p);
  pack_times(p, "live", &s->live_times);
  pack_times(p, "candidate", &s->candidate_times);
  kg_pack_end(p);
  kg_pack_key(p, "differences");
  kg_pack_array(p);
  for (size_t i = 0; i < s->nshown; i++) pack_shown(p, &s->shown[i]);
  kg_pack_end(p);
}
